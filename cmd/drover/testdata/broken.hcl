job "broken" {
  group "g" {
    cuont = 2
    task "t" {
      driver = "fake"
    }
  }
}
