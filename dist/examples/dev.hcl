# A laptop: one agent that is a whole cluster, with data that lasts, which nobody else can reach.
# Start it with: drover agent --config dist/examples/dev.hcl (or, with nothing that lasts, drover agent --dev).
data_dir  = "/tmp/drover"
bind_addr = "127.0.0.1"
log_level = "debug"

server {
  enabled          = true
  bootstrap_expect = 1
}

client {
  enabled = true
}
