# A machine that runs work, for the servers of server.hcl.
name      = "m1"
data_dir  = "/var/lib/drover"
bind_addr = "10.0.1.1"
insecure  = true # no TLS yet: a network that you trust

client {
  enabled    = true
  node_class = "general"

  # What the machine itself needs is kept from tasks.
  reserved {
    cpu    = 500  # MHz
    memory = 1024 # MiB
    disk   = 4096 # MiB
    reserved_ports = "22"
  }

  meta = {
    rack = "r1"
  }

  server_join {
    retry_join = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
  }
}
