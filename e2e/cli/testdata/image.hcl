# Copies of an image, each on a machine of its own.
variable "image" {
  type    = string
  default = "app:1"
}

job "imaged" {
  update {
    max_parallel = 0
  }
  group "g" {
    count = 2
    constraint {
      distinct_hosts = true
    }
    network {
      port "http" {}
    }
    task "t" {
      driver = "docker"
      config {
        image = var.image
      }
      resources {
        cpu    = 20
        memory = 48
      }
    }
  }
}
