# An ingest every half minute, asked of the agent that runs it, by its socket and with the job's own identity.
# Needs Nomad 1.7 or later.
#
#   nomad acl policy apply -namespace default -job alloclog alloclog deploy/nomad/policy.hcl
#   nomad var put nomad/jobs/alloclog AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...
#   nomad job run -var lake=s3://bucket/nomad -var image=registry.example/alloclog:0.1.0 deploy/nomad/alloclog.nomad.hcl
#
# The policy is bound to the job, and its children have it too. Without ACLs the first line is not needed. The variable
# holds what docs/operations.md lists for the store; where machines have credentials of their own, make it with any
# harmless entry, such as AWS_REGION.

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

job "alloclog" {
  type        = "batch"
  datacenters = var.datacenters

  periodic {
    # Seconds come first. An ingest that takes longer is not overtaken by the next one.
    crons            = ["*/30 * * * * * *"]
    prohibit_overlap = true
  }

  group "alloclog" {
    # The next one comes soon enough, and takes up what this one left.
    restart {
      attempts = 0
      mode     = "fail"
    }

    reschedule {
      attempts  = 0
      unlimited = false
    }

    ephemeral_disk {
      size = 300
    }

    task "ingest" {
      driver = "docker"

      config {
        image = var.image
        args = [
          "ingest", "unix://${NOMAD_SECRETS_DIR}/api.sock",
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
          {{ with nomadVar "nomad/jobs/alloclog" }}{{ range .Tuples }}
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

      # It may be killed at any moment: an ingest has happened or it has not.
      kill_timeout = "10s"
    }
  }
}
