{{/* Names */}}
{{- define "scaler.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* A pod's host name has room for 46 characters of the Deployment's name */}}
{{- define "scaler.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 45 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 45 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 45 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "scaler.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "scaler.fullname" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- define "scaler.tlsSecretName" -}}
{{- if .Values.tls.certManager.enabled }}
{{- .Values.tls.secretName | default (printf "%s-tls" (include "scaler.fullname" .)) }}
{{- else }}
{{- required "tls.secretName: name the Secret with tls.crt and tls.key, or set tls.certManager.enabled" .Values.tls.secretName }}
{{- end }}
{{- end }}

{{- define "scaler.clientSecretName" -}}
{{- $own := printf "%s-client-tls" (include "scaler.fullname" .) }}
{{- .Values.tls.triggerAuthentication.secretName | default $own }}
{{- end }}

{{/* Labels: on everything, and those that select the pods */}}
{{- define "scaler.selectorLabels" -}}
app.kubernetes.io/name: {{ include "scaler.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "scaler.labels" -}}
{{- $own := fromYaml (include "scaler.selectorLabels" .) }}
{{- $_ := set $own "app.kubernetes.io/version" .Chart.AppVersion }}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service }}
{{- $_ := set $own "app.kubernetes.io/component" "external-scaler" }}
{{- $_ := set $own "app.kubernetes.io/part-of" "keda-queue-scaler" }}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") }}
{{- toYaml (mergeOverwrite (deepCopy .Values.commonLabels) $own) }}
{{- end }}

{{/* The metadata of an object: (list $ name namespace labels annotations); an empty namespace means the object has none */}}
{{- define "scaler.metadata" -}}
{{- $root := index . 0 }}
{{- $annotations := mergeOverwrite (deepCopy $root.Values.commonAnnotations) (default dict (index . 4)) -}}
name: {{ index . 1 }}
{{- with index . 2 }}
namespace: {{ . }}
{{- end }}
labels:
  {{- merge (fromYaml (include "scaler.labels" $root)) (default dict (index . 3)) | toYaml | nindent 2 }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "scaler.image" -}}
{{- with .Values.image.digest }}
{{- printf "%s@%s" $.Values.image.repository . }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{/* The host that ScaledObjects name in scalerAddress */}}
{{- define "scaler.host" -}}
{{- printf "%s.%s.svc.%s" (include "scaler.fullname" .) .Release.Namespace .Values.clusterDomain }}
{{- end }}

{{- define "scaler.address" -}}
{{- printf "%s:%d" (include "scaler.host" .) (int .Values.ports.grpc) }}
{{- end }}

{{/* Whether the pods ask the Kubernetes API for anything; empty means no */}}
{{- define "scaler.readsKubernetes" -}}
{{- if or .Values.sources.workqueue.podDiscovery .Values.sources.argocd.enabled .Values.sources.flux.enabled }}yes{{ end }}
{{- end }}

{{/* The configuration file: that of the user, and what the chart knows itself */}}
{{- define "scaler.config" -}}
{{- $config := deepCopy .Values.config }}
{{- $_ := set $config "listen" (printf "%s:%d" .Values.listenHost (int .Values.ports.grpc)) }}
{{- $_ := set $config "http" (printf "%s:%d" .Values.listenHost (int .Values.ports.http)) }}
{{- if not (hasKey $config "httpAllowedHosts") }}
{{- $service := include "scaler.fullname" . }}
{{- $_ := set $config "httpAllowedHosts" (list "localhost" "*.svc" "*.svc.cluster.local" $service (printf "%s.%s" $service .Release.Namespace)) }}
{{- end }}
{{- if .Values.tls.enabled }}
{{- $_ := set $config "healthListen" (printf "%s:%d" .Values.listenHost (int .Values.ports.health)) }}
{{- $tls := dict "certFile" "/etc/keda-queue-scaler/tls/tls.crt" "keyFile" "/etc/keda-queue-scaler/tls/tls.key" }}
{{- if .Values.tls.clientAuth }}
{{- $_ := set $tls "clientCAFile" "/etc/keda-queue-scaler/tls/ca.crt" }}
{{- end }}
{{- $_ := set $config "tls" $tls }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{/* Seconds from SIGTERM being due to the end: preStop, still serving, streams, then the calls of both gRPC servers; and some for the rest */}}
{{- define "scaler.gracePeriod" -}}
{{- if .Values.terminationGracePeriodSeconds }}
{{- int .Values.terminationGracePeriodSeconds }}
{{- else }}
{{- $drain := default dict .Values.config.drain }}
{{- $wait := dig "waitSeconds" 2.0 $drain }}
{{- $grace := dig "graceSeconds" 5.0 $drain }}
{{- add (int .Values.preStopSleepSeconds) (ceil $wait) (ceil (mulf $grace 3.0)) 5 }}
{{- end }}
{{- end }}
