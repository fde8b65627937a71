job "failing" {
  group "g" {
    restart {
      attempts = 0
      mode     = "fail"
    }
    task "t" {
      driver = "fake"
      config {
        run_for   = "20ms"
        exit_code = 3
        stderr    = "the database is not there"
      }
    }
  }
}
