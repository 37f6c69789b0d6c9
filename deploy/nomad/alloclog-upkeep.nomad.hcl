# The daily upkeep of the lake: small files become large ones, and then what belongs to nothing is removed. It asks no
# agent and needs no policy, only the lake.
#
#   nomad var put nomad/jobs/alloclog-upkeep AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...
#   nomad job run -var lake=s3://bucket/nomad -var image=registry.example/alloclog:0.1.0 deploy/nomad/alloclog-upkeep.nomad.hcl

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

locals {
  # What both tasks are told of the store.
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
    # Tomorrow is soon enough.
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
        # docs/operations.md, "How much it takes", says for how much this is enough.
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
