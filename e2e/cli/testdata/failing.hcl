job "failing" {
  group "g" {
    restart {
      attempts = 0
    }
    reschedule {
      attempts  = 0
      unlimited = false
    }
    task "t" {
      driver = "exec"
      config {
        command = "/bin/sh"
        args    = ["-c", "echo it went wrong >&2; exit 3"]
      }
      resources {
        cpu    = 20
        memory = 10
      }
    }
  }
}
