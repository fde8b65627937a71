job "impossible" {
  group "g" {
    count = 2
    constraint {
      attribute = "${attr.kernel.name}"
      value     = "plan9"
    }
    task "t" {
      driver = "fake"
      resources {
        memory = 8000000
      }
    }
  }
}
