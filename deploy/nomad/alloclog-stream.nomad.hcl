# Follows the cluster by its event stream and commits a batch every minute: asked of the agent that runs it, by its socket
# and with the job's own identity. Needs Nomad 1.7 or later.
#
#   nomad acl policy apply -namespace default -job alloclog-stream alloclog-stream deploy/nomad/policy.hcl
#   nomad var put nomad/jobs/alloclog-stream AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...
#   nomad job run -var lake=s3://bucket/nomad -var image=registry.example/alloclog:0.1.0 deploy/nomad/alloclog-stream.nomad.hcl
#
# The policy is bound to the job. Without ACLs the first line is not needed. The variable holds what docs/operations.md
# lists for the store; where machines have credentials of their own, make it with any harmless entry, such as AWS_REGION.

variable "lake" {
  type        = string
  description = "Where the lake lies: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"
}

variable "image" {
  type        = string
  description = "The image that deploy/container/Containerfile makes"
}

variable "datacenters" {
  type    = list(string)
  default = ["*"]
}

job "alloclog-stream" {
  type        = "service"
  datacenters = var.datacenters

  group "alloclog" {
    # It goes on from its spool. What an agent is away for is listed afterwards, as far as Nomad still knows it.
    restart {
      attempts = 10
      interval = "10m"
      delay    = "1s"
      mode     = "delay"
    }

    # The spool and the cache come along to the next allocation: what was received while the store was away is there.
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
          # Nomad tells a task its own namespace, and no other would be asked for.
          "--namespace", "*",
          "--lake", var.lake,
          "--cache", "${NOMAD_TASK_DIR}",
        ]
      }

      # The socket wants a token even where there are no ACLs.
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

      # Told to stop, it commits what is there. Killed, it loses nothing that its spool has.
      kill_timeout = "30s"
    }
  }
}
