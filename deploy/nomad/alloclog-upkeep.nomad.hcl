# Daily maintenance of the lake: merges small files, then removes files that nothing needs. The job contacts only the
# lake and no agent, so it needs no ACL policy.
#
#   nomad var put nomad/jobs/alloclog-upkeep AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...
#   nomad job run -var lake=s3://bucket/nomad -var image=registry.example/alloclog:0.1.0 deploy/nomad/alloclog-upkeep.nomad.hcl

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

locals {
  # Environment of both tasks: access to the storage.
  store = <<-EOT
    {{ with nomadVar "nomad/jobs/alloclog-upkeep" }}{{ range .Tuples }}
    {{ .K }}={{ .V | toJSON }}
    {{ end }}{{ end }}
  EOT
}

job "alloclog-upkeep" {
  type        = "batch"
  datacenters = var.datacenters

  periodic {
    crons            = ["17 3 * * *"]
    prohibit_overlap = true
  }

  group "upkeep" {
    # The next run is tomorrow; no retry is needed.
    restart {
      attempts = 0
      mode     = "fail"
    }

    reschedule {
      attempts  = 0
      unlimited = false
    }

    task "compact" {
      driver = "docker"

      lifecycle {
        hook = "prestart"
      }

      config {
        image = var.image
        args  = ["lake", "compact", var.lake]
      }

      template {
        destination = "${NOMAD_SECRETS_DIR}/store.env"
        env         = true
        data        = local.store
      }

      resources {
        # The section "How much it takes" of docs/operations.md says for which size of lake these resources are enough.
        cpu        = 500
        memory     = 1024
        memory_max = 2048
      }
    }

    task "vacuum" {
      driver = "docker"

      config {
        image = var.image
        args  = ["lake", "vacuum", var.lake, "--older-than", "7d"]
      }

      template {
        destination = "${NOMAD_SECRETS_DIR}/store.env"
        env         = true
        data        = local.store
      }

      resources {
        cpu        = 200
        memory     = 256
        memory_max = 1024
      }
    }
  }
}
