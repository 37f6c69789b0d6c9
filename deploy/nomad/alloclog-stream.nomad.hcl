# Follows the cluster's event stream and commits a batch every minute. It uses the socket of the agent that runs it,
# and the workload identity of the job. Needs Nomad 1.7 or later.
#
#   nomad acl policy apply -namespace default -job alloclog-stream alloclog-stream deploy/nomad/policy.hcl
#   nomad var put nomad/jobs/alloclog-stream AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...
#   nomad job run -var lake=s3://bucket/nomad -var image=registry.example/alloclog:0.1.0 deploy/nomad/alloclog-stream.nomad.hcl
#
# The first command binds the policy to the job. It is not needed in a cluster without ACLs. The second command stores
# the credentials for the lake's storage, which docs/operations.md lists, in a Nomad variable. If the machines have
# credentials themselves, create the variable with any harmless entry, such as AWS_REGION, because the template below
# waits until the variable exists.

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
    # After a restart the ingest continues from its spool. After an outage of the agent, the ingest lists again to get
    # the events that Nomad still has.
    restart {
      attempts = 10
      interval = "10m"
      delay    = "1s"
      mode     = "delay"
    }

    # The cache and the spool migrate to the next allocation. The spool has the data that was received and not yet
    # committed.
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
          # Nomad sets NOMAD_NAMESPACE to the namespace of the task, so all namespaces must be requested.
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
        # These resources are enough for fifty thousand allocations.
        cpu        = 200
        memory     = 512
        memory_max = 1024
      }

      # When the ingest is stopped, it commits the received data. If it is killed, that data stays in the spool.
      kill_timeout = "30s"
    }
  }
}
