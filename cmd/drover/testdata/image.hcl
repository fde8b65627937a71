job "imaged" {
  group "g" {
    task "t" {
      driver = "fake"
      config {
        image = "app:1"
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}
