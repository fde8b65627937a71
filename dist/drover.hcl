# /etc/drover.d/drover.hcl: one of three machines that are servers and run work. Change bind_addr and the addresses.
data_dir  = "/var/lib/drover"
bind_addr = "10.0.0.1"
insecure  = true # no TLS yet: a network that you trust

server {
  enabled          = true
  bootstrap_expect = 3
  retry_join       = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
  # encrypt        = "…"   # `openssl rand -base64 32`, the same on every machine
}

client {
  enabled    = true
  node_class = "general"
  meta = {
    rack = "r1"
  }
}
