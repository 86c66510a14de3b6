{{/* Names */}}
{{- define "scaler.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* A pod's host name has room for 46 characters of the Deployment's name */}}
{{- define "scaler.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- $full := .Values.fullnameOverride | default (ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name)) }}
{{- $full = regexReplaceAll "-+$" (trunc 45 $full) "" }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $full) }}
{{- fail (printf "the release's name %q makes the name %q, which no Service may have (a-z, 0-9 and -, beginning with a letter): set fullnameOverride" .Release.Name $full) }}
{{- end }}
{{- $full }}
{{- end }}

{{- define "scaler.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace }}
{{- end }}

{{- define "scaler.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "scaler.fullname" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- define "scaler.tlsSecretName" -}}
{{- if .Values.tls.certManager.enabled }}
{{- .Values.tls.secretName | default (printf "%s-tls" (include "scaler.fullname" .)) }}
{{- else }}
{{- required (printf "tls.secretName: name the Secret with tls.crt%s, or set tls.certManager.enabled" (ternary ", tls.key and ca.crt (of the clients, for tls.clientAuth)" " and tls.key" .Values.tls.clientAuth)) .Values.tls.secretName }}
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
{{- toYaml (mergeOverwrite (deepCopy (default dict .Values.commonLabels)) $own) }}
{{- end }}

{{/* The metadata of an object: (list $ name namespace labels annotations); an empty namespace means the object has none */}}
{{- define "scaler.metadata" -}}
{{- $root := index . 0 }}
{{- $annotations := mergeOverwrite (deepCopy (default dict $root.Values.commonAnnotations)) (default dict (index . 4)) -}}
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

{{/* The first part of a name is a registry if it has a dot or a port, as everywhere */}}
{{- define "scaler.image" -}}
{{- $name := .Values.image.repository }}
{{- with .Values.global.imageRegistry | default .Values.image.registry }}
{{- $name = printf "%s/%s" (trimSuffix "/" .) (regexReplaceAll "^([^/]*[.:][^/]*|localhost)/" $name "") }}
{{- end }}
{{- with .Values.image.digest }}
{{- printf "%s@%s" $name . }}
{{- else }}
{{- printf "%s:%s" $name (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{- define "scaler.imagePullSecrets" -}}
{{- $secrets := default list .Values.imagePullSecrets }}
{{- range .Values.global.imagePullSecrets }}
{{- $secrets = append $secrets (ternary (dict "name" .) . (kindIs "string" .)) }}
{{- end }}
{{- with uniq $secrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The host that ScaledObjects name in scalerAddress */}}
{{- define "scaler.host" -}}
{{- printf "%s.%s.svc.%s" (include "scaler.fullname" .) (include "scaler.namespace" .) .Values.clusterDomain }}
{{- end }}

{{- define "scaler.address" -}}
{{- printf "%s:%d" (include "scaler.host" .) (int .Values.ports.grpc) }}
{{- end }}

{{/* Whether a page is read with the token of the scaler's own service account; empty means no */}}
{{- define "scaler.sendsToken" -}}
{{- range (default dict .Values.config).pages }}
{{- if .serviceAccountToken }}yes{{ end }}
{{- end }}
{{- end }}

{{/* Whether the pods need a token: they ask the Kubernetes API for something, or show it to a page; empty means no */}}
{{- define "scaler.needsToken" -}}
{{- $sources := .Values.sources }}
{{- if or $sources.workqueue.podDiscovery $sources.argocd.enabled $sources.flux.enabled .Values.spareBusy.namespaces (include "scaler.sendsToken" .) }}yes{{ end }}
{{- end }}

{{/* Whether an object of the Prometheus operator is made: (list $ values kind); empty means no */}}
{{- define "scaler.renders" -}}
{{- $root := index . 0 }}
{{- $values := index . 1 }}
{{- if $values.enabled }}
{{- if or (eq $values.renderMode "alwaysRender") ($root.Capabilities.APIVersions.Has (printf "monitoring.coreos.com/v1/%s" (index . 2))) }}yes
{{- else if eq $values.renderMode "failIfMissing" }}
{{- fail (printf "the cluster has no %s (monitoring.coreos.com/v1): install the Prometheus operator, or set metrics.%s.renderMode to skipIfMissing" (index . 2) (untitle (index . 2))) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Both families where the Service may get both: Linux takes IPv4 on `[::]` too */}}
{{- define "scaler.listenHost" -}}
{{- $both := or (has "IPv6" (default list .Values.service.ipFamilies)) (hasSuffix "DualStack" (default "" .Values.service.ipFamilyPolicy)) }}
{{- .Values.listenHost | default (ternary "[::]" "0.0.0.0" $both) }}
{{- end }}

{{/* The configuration file: that of the user, and what the chart knows itself */}}
{{- define "scaler.config" -}}
{{- $config := deepCopy (default dict .Values.config) }}
{{- $host := include "scaler.listenHost" . }}
{{- $_ := set $config "listen" (printf "%s:%d" $host (int .Values.ports.grpc)) }}
{{- $_ := set $config "http" (printf "%s:%d" $host (int .Values.ports.http)) }}
{{- /* The server's own list knows neither the Service nor another domain than the usual one */}}
{{- if not (hasKey $config "httpAllowedHosts") }}
{{- $service := include "scaler.fullname" . }}
{{- $names := list "localhost" "*.svc" (printf "*.svc.%s" .Values.clusterDomain) $service (printf "%s.%s" $service (include "scaler.namespace" .)) }}
{{- $_ := set $config "httpAllowedHosts" $names }}
{{- end }}
{{- if .Values.tls.enabled }}
{{- $_ := set $config "healthListen" (printf "%s:%d" $host (int .Values.ports.health)) }}
{{- $tls := dict "certFile" "/etc/keda-queue-scaler/tls/tls.crt" "keyFile" "/etc/keda-queue-scaler/tls/tls.key" }}
{{- if .Values.tls.clientAuth }}
{{- $_ := set $tls "clientCAFile" "/etc/keda-queue-scaler/tls/ca.crt" }}
{{- end }}
{{- $_ := set $config "tls" $tls }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{/* Seconds from SIGTERM being due to the end: preStop, still serving, streams, then the calls of both gRPC servers; and some for the rest */}}
{{- define "scaler.wholeGracePeriod" -}}
{{- $drain := default dict (default dict .Values.config).drain }}
{{- $wait := dig "waitSeconds" 2.0 $drain }}
{{- $grace := dig "graceSeconds" 5.0 $drain }}
{{- add (int .Values.preStopSleepSeconds) (ceil $wait) (ceil (mulf $grace 3.0)) 5 }}
{{- end }}

{{- define "scaler.gracePeriod" -}}
{{- int .Values.terminationGracePeriodSeconds | default (include "scaler.wholeGracePeriod" .) }}
{{- end }}
