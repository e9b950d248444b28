{{/* What values.schema.json cannot say, since it is about two values at once. */}}
{{- define "marquee.checks" -}}
{{- $settings := .Values.settings | default dict -}}
{{- if gt (int .Values.scaling.min) (int .Values.scaling.max) -}}
{{- fail (printf "scaling.min is %d, which is more than scaling.max, %d" (int .Values.scaling.min) (int .Values.scaling.max)) -}}
{{- end -}}
{{- if and (eq .Values.scaling.mode "marquee") (gt (int .Values.scaling.autoscaler.replicas) 1) (not (dig "zookeeper" "hosts" list $settings)) -}}
{{- fail "scaling.autoscaler.replicas: without settings.zookeeper.hosts none of them is elected, and all would scale: set it to 1, or name a ZooKeeper" -}}
{{- end -}}
{{- $needed := addf .Values.doors.preStopSeconds (dig "api" "drain_s" 10 $settings) 5 -}}
{{- if lt (float64 .Values.doors.terminationGracePeriodSeconds) $needed -}}
{{- fail (printf "doors.terminationGracePeriodSeconds is %d: doors.preStopSeconds, settings.api.drain_s and 5 s to end need %.0f" (int .Values.doors.terminationGracePeriodSeconds) $needed) -}}
{{- end -}}
{{- if regexMatch "//[^/]*:[^/]+@" (dig "redis" "url" "" $settings) -}}
{{- fail "settings.redis.url has a password, and a ConfigMap is no place for one: take it out, and say in secrets.redis.password where it stands" -}}
{{- end -}}
{{- end -}}
