# A tour of the language: variables with rules, locals, functions, dynamic blocks, constraints, and what is filled in on the node.
#
#   drover job validate language.nomad.hcl
#   DROVER_VAR_environment=prod drover job plan language.nomad.hcl

variable "environment" {
  type        = string
  default     = "dev"
  description = "dev, stage or prod"

  validation {
    condition     = contains(["dev", "stage", "prod"], var.environment)
    error_message = "the environment must be dev, stage or prod, not ${var.environment}"
  }
}

variable "workers" {
  type = map(object({
    memory = number
    queue  = optional(string, "default")
  }))
  default = {
    small = { memory = 64 }
    large = { memory = 256, queue = "heavy" }
  }
}

locals {
  labels = {
    environment = var.environment
    team        = "herd"
  }
  copies = var.environment == "prod" ? 2 : 1
}

job "language" {
  datacenters = ["*"]
  meta        = local.labels

  constraint {
    attribute = "${attr.kernel.name}"
    value     = "linux"
  }

  # one group for each worker
  dynamic "group" {
    for_each = var.workers
    iterator = worker
    labels   = ["worker-${worker.key}"]

    content {
      count = local.copies

      task "work" {
        driver = "exec"

        config {
          command = "/bin/sh"
          args    = ["-c", format("echo %s works on %s; sleep 3600", worker.key, worker.value.queue)]
        }

        env = merge(
          { for k, v in local.labels : upper(k) => v },
          { WHERE = "${node.datacenter}/${node.unique.name}", QUEUE = worker.value.queue },
        )

        resources {
          cpu    = 50
          memory = worker.value.memory
        }
      }
    }
  }
}
