# Three copies of a small web server, each on a node of its own and on a port that the scheduler picks. The program is the one in
# examples/hello; build its image, or install the program on every node, and say where it is:
#
#   drover job run -var image=file:///srv/hello.tar web.nomad.hcl
#   drover job run -var program=/usr/local/bin/hello web.nomad.hcl
#
# A new version, one copy at a time:
#
#   drover job run -var image=file:///srv/hello.tar -var version=2 web.nomad.hcl

variable "image" {
  type    = string
  default = ""
}

variable "program" {
  type    = string
  default = "/usr/local/bin/hello"
}

variable "version" {
  type    = string
  default = "1"
}

job "web" {
  update {
    max_parallel = 1
  }

  constraint {
    distinct_hosts = true
  }

  group "web" {
    count = 3

    network {
      port "http" {} # a free port of the node; ${NOMAD_PORT_http} names it
    }

    task "server" {
      driver = var.image == "" ? "exec" : "docker"

      config {
        image   = var.image == "" ? null : var.image
        command = var.image == "" ? var.program : null
      }

      env {
        HELLO_ADDR    = ":${NOMAD_PORT_http}"
        HELLO_VERSION = var.version
      }

      resources {
        cpu    = 100
        memory = "64MiB"
      }
    }
  }
}
