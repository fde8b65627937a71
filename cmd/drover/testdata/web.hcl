variable "copies" {
  type    = number
  default = 1
}

variable "greeting" {
  type    = string
  default = "hello"
}

job "web" {
  group "g" {
    count = var.copies
    task "t" {
      driver = "fake"
      config {
        stdout = "${var.greeting} from ${NOMAD_ALLOC_NAME}"
        stderr = "listening"
      }
    }
  }
}
