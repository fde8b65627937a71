# A shell that says what signals it hears, and a terminal's worth of other things to look into.
job "shell" {
  update {
    max_parallel = 0
  }
  group "g" {
    count = 2
    network {
      port "http" {}
    }
    task "t" {
      driver = "exec"
      config {
        command = "/bin/sh"
        args    = ["-c", "trap 'echo heard HUP' HUP; echo begun; echo oh >&2; while :; do sleep 1 & wait $!; done"]
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}
