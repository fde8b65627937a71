# A server as it should be in production: gossip encrypted, a log for machines to read, snapshots taken by itself and kept on another disk,
# metrics for Prometheus. It runs no work: nothing that tasks do can starve the cluster's memory of its disk.
name      = "s1"
data_dir  = "/var/lib/drover"
bind_addr = "10.0.0.1"
insecure  = true # no TLS yet: close ports 4646 and 4647 to everybody but agents and operators
log_level = "info"
log_json  = true

server {
  enabled          = true
  bootstrap_expect = 3
  retry_join       = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
  encrypt          = "ZXhhbXBsZS1rZXktbWFrZS15b3VyLW93bi1vbmUtISE=" # an example: make your own with `openssl rand -base64 32`

  snapshots {
    interval  = "1h"
    retain    = 48
    directory = "/var/backups/drover"
  }
}

telemetry {
  prometheus_metrics = true
}

# A server that is stopped is expected back. Both are the default; see docs/operations.md, Leaving.
leave_on_interrupt = false
leave_on_terminate = false
