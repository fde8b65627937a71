job "sum" {
  type = "batch"
  group "g" {
    count = 2
    task "t" {
      driver = "fake"
      config {
        run_for = "20ms"
        stdout  = "4 and 4 are 8"
      }
    }
  }
}
