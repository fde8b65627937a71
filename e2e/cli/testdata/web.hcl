# A small web server, one copy unless told otherwise.
variable "copies" {
  type    = number
  default = 1
}

variable "version" {
  type    = string
  default = "1"
}

variable "hello" {
  type    = string
  default = "/nonexistent"
}

job "web" {
  update {
    max_parallel = 0
  }
  group "g" {
    count = var.copies
    network {
      port "http" {}
    }
    task "t" {
      driver = "exec"
      config {
        command = var.hello
      }
      env {
        HELLO_ADDR    = ":${NOMAD_PORT_http}"
        HELLO_VERSION = var.version
      }
      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
