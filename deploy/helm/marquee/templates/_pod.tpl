{{/* What all pods have alike. Of (dict "root" $ "role" "worker" "own" .Values.workers). */}}

{{- define "marquee.pod.metadata" -}}
labels:
  {{- include "marquee.labels" . | nindent 2 }}
  {{- with .root.Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  # Variables are read when a process starts: other settings are other pods.
  checksum/settings: {{ include "marquee.variables" .root | sha256sum }}
  {{- with .root.Values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "marquee.pod.spec" -}}
# Else each Service puts variables into the pods, MARQUEE_… too, which would be taken for settings.
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ int64 .root.Values.runAsUser }}
  runAsGroup: {{ int64 .root.Values.runAsUser }}
  fsGroup: {{ int64 .root.Values.runAsUser }}
  seccompProfile: {type: RuntimeDefault}
terminationGracePeriodSeconds: {{ int .own.terminationGracePeriodSeconds }}
{{- with .own.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
topologySpreadConstraints:
  {{- $given := . }}
  {{- range $key, $what := dict "topology.kubernetes.io/zone" .own.spread.zone "kubernetes.io/hostname" .own.spread.host }}
  - topologyKey: {{ $key }}
    maxSkew: 1
    whenUnsatisfiable: {{ $what }}
    labelSelector:
      matchLabels:
        {{- include "marquee.selector" $given | nindent 8 }}
    # Else a roll's new pods go where the old ones, which are about to end, are not.
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- with .own.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .own.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .own.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: temporary
    emptyDir:
      sizeLimit: {{ .root.Values.temporary }}
  {{- range .root.Values.secretProviderClasses }}
  - name: secrets-{{ . }}
    csi:
      driver: secrets-store.csi.k8s.io
      readOnly: true
      volumeAttributes: {secretProviderClass: {{ . }}}
  {{- end }}
{{- end -}}

{{- define "marquee.confined" -}}
image: {{ include "marquee.image" .root }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources:
  {{- toYaml .own.resources | nindent 2 }}
{{- end -}}

{{- define "marquee.container" -}}
name: {{ .role }}
{{ include "marquee.confined" . }}
envFrom:
  - configMapRef: {name: {{ include "marquee.fullname" .root }}-settings}
env:
  - {name: HOME, value: /tmp} # where libraries keep what they make
  - {name: NUMBA_CACHE_DIR, value: /tmp/kernels}
  - {name: MARQUEE_READY_FILE, value: /tmp/ready}
  - name: MARQUEE_LOCAL__DIRECTORY
    value: /tmp/marquee
  - name: MARQUEE_WORKER__NAME # of doors and autoscalers too: by which they are known in ZooKeeper
    valueFrom: {fieldRef: {fieldPath: metadata.name}}
  - name: POD_IP
    valueFrom: {fieldRef: {fieldPath: status.podIP}}
  - {name: MARQUEE_WORKER__HTTP_HOST, value: $(POD_IP)} # the address that others are told
  - {name: MARQUEE_WORKER__HTTP_PORT, value: {{ .root.Values.workers.port | int | quote }}}
  - {name: MARQUEE_API__HTTP_HOST, value: $(POD_IP)}
  - {name: MARQUEE_API__HTTP_PORT, value: {{ .root.Values.doors.port | int | quote }}}
  {{- range $section, $keys := .root.Values.secrets }}
  {{- range $key, $from := $keys }}
  - name: {{ include "marquee.variable" (dict "section" $section "key" $key) }}
    valueFrom: {secretKeyRef: {name: {{ $from.name }}, key: {{ $from.key }}}}
  {{- end }}
  {{- end }}
volumeMounts:
  - name: temporary
    mountPath: /tmp
  {{- range .root.Values.secretProviderClasses }}
  - name: secrets-{{ . }}
    mountPath: /mnt/secrets/{{ . }}
    readOnly: true
  {{- end }}
{{- end -}}

{{/* /healthz and /readyz of the port `http`. Liveness is patient: a worker's loop may stand for 15 s before /healthz calls it stuck. */}}
{{- define "marquee.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: {{ div (int .startupSeconds) 2 }}
livenessProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
{{- end -}}

{{/* A rebalance at a time: the next pod is replaced when the one before has been ready for minReadySeconds. */}}
{{- define "marquee.roll" -}}
minReadySeconds: {{ int .own.minReadySeconds }}
revisionHistoryLimit: 5
strategy:
  type: RollingUpdate
  rollingUpdate:
    maxSurge: {{ .own.maxSurge }}
    maxUnavailable: {{ .own.maxUnavailable }}
{{- end -}}
