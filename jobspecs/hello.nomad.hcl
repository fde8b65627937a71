# A first job. It runs on a fresh agent with nothing installed:
#
#   drover job run hello.nomad.hcl
#   drover job status hello
#   drover alloc logs -f <allocation>
#   drover job stop hello
#
# To run it in a container, name an image that has a shell: in a registry, or a file that every node has
# (docker save busybox -o /srv/busybox.tar):
#
#   drover job run -var image=docker.io/library/busybox:1.36 hello.nomad.hcl
#   drover job run -var image=file:///srv/busybox.tar hello.nomad.hcl

variable "image" {
  type        = string
  default     = ""
  description = "container image; without one a plain program runs"
}

variable "copies" {
  type        = number
  default     = 1
  description = "how many copies"
  validation {
    condition     = var.copies >= 0 && floor(var.copies) == var.copies
    error_message = "copies must be a whole number, 0 or more"
  }
}

variable "greeting" {
  type    = string
  default = "hello"
}

job "hello" {
  type = "service" # started again when it ends; "batch" is complete when it ends well

  group "hello" {
    count = var.copies

    restart { # on its own node, when it fails
      attempts = 3
      interval = "10m"
      delay    = "5s"
      mode     = "fail" # then it is placed on another node, see reschedule
    }

    task "hello" {
      driver = var.image == "" ? "exec" : "docker"

      config {
        image   = var.image == "" ? null : var.image
        command = "/bin/sh"
        args    = ["-c", local.script]
      }

      resources {
        cpu    = 50 # MHz
        memory = 32 # MiB, a hard limit
      }

      kill_timeout = "3s" # between SIGTERM and SIGKILL
    }
  }
}

locals {
  # $${…} would be a variable of the shell in braces; ${node…} and ${attr…} are filled in on the node.
  script = <<-EOT
    trap 'echo "bye"; exit 0' TERM INT
    n=0
    while true; do
      n=$((n + 1))
      echo "${var.greeting} number $n from $NOMAD_ALLOC_NAME on ${node.unique.name}"
      sleep 2 & wait $!
    done
  EOT
}
