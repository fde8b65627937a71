# A job that ends: each copy counts to its number and is complete. A copy that fails is started again, twice on its node, then once
# on another.
#
#   drover job run batch.nomad.hcl
#   drover job status batch

job "batch" {
  type     = "batch"
  priority = 30 # what is more important is placed first

  group "count" {
    count = 2

    restart {
      attempts = 2
      interval = "1h"
      delay    = "2s"
    }

    reschedule {
      attempts = 1
      interval = "24h"
    }

    task "count" {
      driver = "exec"

      config {
        command = "/bin/sh"
        args    = ["-c", "i=0; while [ $i -lt 10 ]; do i=$((i + 1)); echo \"copy ${NOMAD_ALLOC_INDEX}: $i\"; sleep 1; done"]
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
