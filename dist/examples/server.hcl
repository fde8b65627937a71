# One of three servers that run no work. Change name, bind_addr and the addresses; the rest is the same on all three.
name      = "s1"
data_dir  = "/var/lib/drover"
bind_addr = "10.0.0.1"
insecure  = true # no TLS yet: a network that you trust

server {
  enabled          = true
  bootstrap_expect = 3
  retry_join       = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
}
