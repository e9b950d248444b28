{{/* A setting's value as its variable has it: lists with commas, and whole numbers as such: to Helm they are floats, which it would write
8.388608e+06. */}}
{{- define "marquee.text" -}}
{{- if kindIs "slice" . -}}{{ join "," . }}
{{- else if and (kindIs "float64" .) (eq (floor .) .) -}}{{ printf "%.0f" . }}
{{- else -}}{{ . }}
{{- end -}}
{{- end -}}

{{- define "marquee.variable" -}}
MARQUEE_{{ upper .section }}__{{ upper .key }}
{{- end -}}

{{- define "marquee.variables" -}}
{{- $variables := dict -}}
{{- range $section, $keys := .Values.settings -}}
{{- range $key, $value := $keys -}}
{{- $_ := set $variables (include "marquee.variable" (dict "section" $section "key" $key)) (include "marquee.text" $value) -}}
{{- end -}}
{{- end -}}
{{- toYaml $variables -}}
{{- end -}}
