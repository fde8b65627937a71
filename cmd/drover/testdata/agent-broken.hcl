server {
  enabled    = true
  retry_jion = ["10.0.0.1"]
}
