# Follows the cluster's event stream and commits a batch every minute. It uses the socket of the agent that runs it, and the
# job's own identity. Needs Nomad 1.7 or later.
#
#   nomad acl policy apply -namespace default -job alloclog-stream alloclog-stream deploy/nomad/policy.hcl
#   nomad var put nomad/jobs/alloclog-stream AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...
#   nomad job run -var lake=s3://bucket/nomad -var image=registry.example/alloclog:0.1.0 deploy/nomad/alloclog-stream.nomad.hcl
#
# The policy is bound to the job. Without ACLs the first line is not needed. The variable contains the credentials that
# docs/operations.md lists for the storage. If machines have credentials of their own, create it with any harmless entry,
# such as AWS_REGION.

variable "lake" {
  type        = string
  description = "The lake: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"
}

variable "image" {
  type        = string
  description = "The image that deploy/container/Containerfile builds"
}

variable "datacenters" {
  type    = list(string)
  default = ["*"]
}

job "alloclog-stream" {
  type        = "service"
  datacenters = var.datacenters

  group "alloclog" {
    # It continues from its spool. After an outage of the agent, a listing shows what Nomad still has.
    restart {
      attempts = 10
      interval = "10m"
      delay    = "1s"
      mode     = "delay"
    }

    # The spool and the cache migrate to the next allocation, with what was received while the store was away.
    ephemeral_disk {
      size    = 2000
      sticky  = true
      migrate = true
    }

    task "ingest" {
      driver = "docker"

      config {
        image = var.image
        args = [
          "ingest", "unix://${NOMAD_SECRETS_DIR}/api.sock",
          "--stream",
          "--every", "60s",
          "--token-file", "${NOMAD_SECRETS_DIR}/nomad_token",
          # Nomad sets NOMAD_NAMESPACE to the task's own, so all namespaces must be requested.
          "--namespace", "*",
          "--lake", var.lake,
          "--cache", "${NOMAD_TASK_DIR}",
        ]
      }

      # The socket needs a token even without ACLs.
      identity {
        file = true
      }

      template {
        destination = "${NOMAD_SECRETS_DIR}/store.env"
        env         = true
        data        = <<-EOT
          {{ with nomadVar "nomad/jobs/alloclog-stream" }}{{ range .Tuples }}
          {{ .K }}={{ .V | toJSON }}
          {{ end }}{{ end }}
        EOT
      }

      resources {
        # Enough for fifty thousand allocations.
        cpu        = 200
        memory     = 512
        memory_max = 1024
      }

      # When stopped, it commits what it has. A kill loses nothing that is in its spool.
      kill_timeout = "30s"
    }
  }
}
