job "sum" {
  type = "batch"
  group "g" {
    count = 2
    task "t" {
      driver = "exec"
      config {
        command = "/bin/sh"
        args    = ["-c", "echo $((6 * 7))"]
      }
      resources {
        cpu    = 20
        memory = 10
      }
    }
  }
}
