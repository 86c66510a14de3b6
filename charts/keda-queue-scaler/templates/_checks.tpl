{{/* Refuses with the names of the values what an API server would refuse, or what would not work: one template, included
     once, for what values.schema.json cannot say because it is about several values */}}
{{- define "scaler.checks" -}}
{{- $v := .Values }}
{{- $resources := default dict $v.resources }}

{{- $ports := list (int $v.ports.grpc) (int $v.ports.http) }}
{{- if $v.tls.enabled }}
{{- $ports = append $ports (int $v.ports.health) }}
{{- end }}
{{- include "scaler.once" (list "ports (with tls.enabled that of health, too)" $ports) }}

{{- with $v.autoscaling }}
{{- if .enabled }}
{{- if gt (int .minReplicas) (int .maxReplicas) }}
{{- fail (printf "autoscaling.minReplicas (%d) is above autoscaling.maxReplicas (%d)" (int .minReplicas) (int .maxReplicas)) }}
{{- end }}
{{- if not (or (dig "requests" "cpu" "" $resources) (dig "limits" "cpu" "" $resources)) }}
{{- fail "autoscaling needs resources.requests.cpu: the HPA measures CPU in percent of it" }}
{{- end }}
{{- end }}
{{- end }}

{{- if and $v.terminationGracePeriodSeconds (le (int $v.terminationGracePeriodSeconds) (int $v.preStopSleepSeconds)) }}
{{- fail (printf "terminationGracePeriodSeconds (%d) must be longer than preStopSleepSeconds (%d), which is a part of it; 0 lets the chart compute it (%s)" (int $v.terminationGracePeriodSeconds) (int $v.preStopSleepSeconds) (include "scaler.wholeGracePeriod" .)) }}
{{- end }}

{{- with $v.updateStrategy }}
{{- $update := .rollingUpdate | default dict }}
{{- $none := list "0" "0%" }}
{{- if and (eq .type "RollingUpdate") (has (toString $update.maxSurge) $none) (has (toString $update.maxUnavailable) $none) }}
{{- fail "updateStrategy.rollingUpdate: with maxSurge and maxUnavailable both 0 no pod can be replaced" }}
{{- end }}
{{- end }}

{{- if and $v.metrics.serviceMonitor.enabled $v.metrics.podMonitor.enabled }}
{{- fail "metrics.serviceMonitor and metrics.podMonitor are both enabled, so every pod would be scraped twice: choose one" }}
{{- end }}
{{- range $name := list "serviceMonitor" "podMonitor" }}
{{- with index $v.metrics $name }}
{{- if and .scrapeTimeout (gt (include "scaler.seconds" .scrapeTimeout | float64) (include "scaler.seconds" .interval | float64)) }}
{{- fail (printf "metrics.%s.scrapeTimeout (%s) is longer than its interval (%s)" $name .scrapeTimeout .interval) }}
{{- end }}
{{- end }}
{{- end }}

{{- with $v.service }}
{{- if and (gt (len (default list .ipFamilies)) 1) (not (hasSuffix "DualStack" (default "" .ipFamilyPolicy))) }}
{{- fail "service.ipFamilies has two families: set service.ipFamilyPolicy to PreferDualStack or RequireDualStack" }}
{{- end }}
{{- end }}

{{- if and (eq $v.dnsPolicy "None") (not (default dict $v.dnsConfig).nameservers) }}
{{- fail "dnsPolicy None needs dnsConfig.nameservers" }}
{{- end }}

{{- with $v.tls.certManager }}
{{- if and .enabled (or (lt (include "scaler.seconds" .duration | float64) 3600.0) (lt (include "scaler.seconds" .renewBefore | float64) 300.0)) }}
{{- fail "tls.certManager: cert-manager takes a duration of 1h at least, and a renewBefore of 5m at least" }}
{{- end }}
{{- if and .enabled (ge (include "scaler.seconds" .renewBefore | float64) (include "scaler.seconds" .duration | float64)) }}
{{- fail (printf "tls.certManager.renewBefore (%s) must be shorter than tls.certManager.duration (%s)" .renewBefore .duration) }}
{{- end }}
{{- end }}

{{- range $resource, $limit := dig "limits" dict $resources }}
{{- $request := dig "requests" $resource "" $resources }}
{{- if and (ne (toString $request) "") (gt (include "scaler.quantity" $request | float64) (include "scaler.quantity" $limit | float64)) }}
{{- fail (printf "resources.requests.%s (%v) is above resources.limits.%s (%v)" $resource $request $resource $limit) }}
{{- end }}
{{- end }}

{{- $pod := $v.podSecurityContext }}
{{- $own := $v.securityContext }}
{{- $user := toString (ternary $own.runAsUser $pod.runAsUser (hasKey $own "runAsUser")) }}
{{- $nonRoot := ternary $own.runAsNonRoot $pod.runAsNonRoot (hasKey $own "runAsNonRoot") }}
{{- if and $nonRoot (eq $user "0") }}
{{- fail "runAsUser 0 is root, which runAsNonRoot forbids" }}
{{- end }}
{{- if and $own.privileged (eq (toString $own.allowPrivilegeEscalation) "false") }}
{{- fail "securityContext: privileged needs allowPrivilegeEscalation" }}
{{- end }}

{{- $volumes := list "config" }}
{{- $paths := list "/etc/keda-queue-scaler/config.yaml" }}
{{- if $v.tls.enabled }}
{{- $volumes = append $volumes "tls" }}
{{- $paths = append $paths "/etc/keda-queue-scaler/tls" }}
{{- end }}
{{- range $v.secretMounts }}
{{- $volumes = append $volumes (printf "secret-%s" .name) }}
{{- include "scaler.relative" (list "secretMounts" .) }}
{{- $paths = append $paths (printf "/etc/keda-queue-scaler/secrets/%s" .name) }}
{{- end }}
{{- range $v.configMapMounts }}
{{- $volumes = append $volumes (printf "configmap-%s" .name) }}
{{- include "scaler.relative" (list "configMapMounts" .) }}
{{- $paths = append $paths (printf "/etc/keda-queue-scaler/configmaps/%s" .name) }}
{{- end }}
{{- range $v.extraVolumes }}
{{- $volumes = append $volumes .name }}
{{- end }}
{{- range $v.extraVolumeMounts }}
{{- if not (has .name $volumes) }}
{{- fail (printf "extraVolumeMounts: no volume is named %q: there are %s" .name (join ", " $volumes)) }}
{{- end }}
{{- $paths = append $paths (trimSuffix "/" .mountPath) }}
{{- end }}
{{- include "scaler.once" (list "secretMounts, configMapMounts and extraVolumes: volumes (config, and tls with tls.enabled, are the chart's own)" $volumes) }}
{{- include "scaler.once" (list "extraVolumeMounts: mount paths (those under /etc/keda-queue-scaler are the chart's own)" $paths) }}

{{- $containers := list "scaler" }}
{{- range concat (default list $v.extraContainers) (default list $v.extraInitContainers) }}
{{- $containers = append $containers .name }}
{{- end }}
{{- include "scaler.once" (list "extraContainers and extraInitContainers: names (scaler is the chart's own)" $containers) }}

{{- $names := list }}
{{- range $v.extraEnv }}
{{- $names = append $names .name }}
{{- if and (hasKey . "value") (hasKey . "valueFrom") }}
{{- fail (printf "extraEnv: %s has value and valueFrom: give one of them" .name) }}
{{- end }}
{{- if regexMatch "^SCALER_(LISTEN|HTTP|HEALTH_LISTEN|TLS|TLS__.*)$" .name }}
{{- fail (printf "extraEnv: %s would win over the addresses and certificates that Service and probes agree with: set ports, listenHost and tls instead" .name) }}
{{- end }}
{{- end }}
{{- include "scaler.once" (list "extraEnv: names" $names) }}
{{- range $v.extraArgs }}
{{- if regexMatch "^--(config|listen|http)(=|$)" . }}
{{- fail (printf "extraArgs: %s would win over what Service and probes agree with: set config, ports and listenHost instead" .) }}
{{- end }}
{{- end }}
{{- $ips := list }}
{{- range $v.hostAliases }}
{{- $ips = append $ips .ip }}
{{- end }}
{{- include "scaler.once" (list "hostAliases: addresses" $ips) }}
{{- $spreads := list }}
{{- range $v.topologySpreadConstraints }}
{{- $spreads = append $spreads (printf "%s with %s" .topologyKey .whenUnsatisfiable) }}
{{- end }}
{{- include "scaler.once" (list "topologySpreadConstraints:" $spreads) }}
{{- range $v.topologySpreadConstraints }}
{{- if and (hasKey . "minDomains") (ne .whenUnsatisfiable "DoNotSchedule") }}
{{- fail (printf "topologySpreadConstraints: minDomains of %s needs whenUnsatisfiable: DoNotSchedule" .topologyKey) }}
{{- end }}
{{- end }}

{{- range $v.tolerations }}
{{- if and (not .key) (ne (default "Equal" .operator) "Exists") }}
{{- fail "tolerations: one without a key tolerates every taint, and needs operator: Exists" }}
{{- end }}
{{- if and .value (eq (default "Equal" .operator) "Exists") }}
{{- fail (printf "tolerations: operator Exists of %s compares no value: leave value out" .key) }}
{{- end }}
{{- if and (hasKey . "tolerationSeconds") (ne (default "" .effect) "NoExecute") }}
{{- fail (printf "tolerations: tolerationSeconds of %s needs effect: NoExecute" (default "all" .key)) }}
{{- end }}
{{- end }}

{{- if and (has "Deny" $v.admissionPolicy.validationActions) (has "Warn" $v.admissionPolicy.validationActions) }}
{{- fail "admissionPolicy.validationActions: Deny warns already, and an API server refuses Warn beside it: leave Warn out" }}
{{- end }}
{{- end }}

{{/* Fails for the path of a key that leads out of its volume: (list value mount) */}}
{{- define "scaler.relative" -}}
{{- $value := index . 0 }}
{{- range (index . 1).items }}
{{- if regexMatch "^/|(^|/)[.][.](/|$)" .path }}
{{- fail (printf "%s: path %s of %s must be relative and without .." $value .path (index $ 1).name) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Fails for what a list has twice: (list what items) */}}
{{- define "scaler.once" -}}
{{- $seen := list }}
{{- range index . 1 }}
{{- if has . $seen }}
{{- fail (printf "%s must differ, and %v is there twice" (index $ 0) .) }}
{{- end }}
{{- $seen = append $seen . }}
{{- end }}
{{- end }}

{{/* The seconds of a duration of Go or Prometheus */}}
{{- define "scaler.seconds" -}}
{{- $factors := dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0 "d" 86400.0 "w" 604800.0 "y" 31536000.0 }}
{{- $sum := 0.0 }}
{{- range regexFindAll "[0-9]+(ms|[smhdwy])" . -1 }}
{{- $sum = addf $sum (mulf (regexFind "^[0-9]+" . | float64) (get $factors (regexFind "[a-z]+$" .))) }}
{{- end }}
{{- $sum }}
{{- end }}

{{/* The number of a quantity of Kubernetes */}}
{{- define "scaler.quantity" -}}
{{- $text := toString . }}
{{- $factors := dict "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 "Pi" 1125899906842624.0 "Ei" 1152921504606846976.0 }}
{{- $unit := regexFind "[A-Za-z]+$" $text }}
{{- mulf (trimSuffix $unit $text | float64) (get $factors $unit | default 1.0) }}
{{- end }}
