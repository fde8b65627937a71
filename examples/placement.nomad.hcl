# Where copies go: what must hold (constraint), what is liked (affinity, spread), what each copy holds on its node (resources).
#
#   drover job plan placement.nomad.hcl      where they would go, and why not elsewhere
#   drover job why placement                 the same for a job that runs
#
# The program is the one in examples/hello, installed on every node.

variable "program" {
  type    = string
  default = "/usr/local/bin/hello"
}

job "placement" {
  datacenters = ["dc*"]   # globs: nodes of these datacenters are considered
  node_pool   = "default" # and of this pool; "all" is every node

  # Must hold: other nodes are not considered.
  constraint {
    attribute = "${attr.kernel.name}"
    value     = "linux"
  }

  # Liked: among the nodes that fit, those with a local SSD first. A negative weight avoids nodes.
  affinity {
    attribute = "${meta.disk}"
    value     = "ssd"
    weight    = 75
  }

  # Two thirds of the copies in dc1, the rest in the other datacenters. Without targets every value gets the same part.
  spread {
    attribute = "${node.datacenter}"
    weight    = 100

    target "dc1" {
      percent = 66
    }
  }

  group "web" {
    count = 3

    # At most two copies in a rack.
    constraint {
      distinct_property = "${meta.rack}"
      value             = 2
    }

    network {
      port "http" {}
    }

    task "server" {
      driver = "exec"

      config {
        command = var.program
      }

      env {
        HELLO_ADDR = ":${NOMAD_PORT_http}"
      }

      resources {
        cpu        = "250m"   # a quarter of a core, whatever the node's cores run at; or MHz: 500, "1.5GHz"
        memory     = "64MiB"  # what it is sure of
        memory_max = "256MiB" # what it may grow to, once an operator has allowed it:
        #                       drover operator scheduler set-config --memory-oversubscription=true
      }
    }
  }

  # A copy with a core for itself, and with /dev/net/tun in it.
  group "tunnel" {
    count = 0 # raise it where nodes have such a device: drover node status --verbose NODE

    task "client" {
      driver = "exec"

      config {
        command = var.program
      }

      resources {
        cores  = 1
        memory = "64MiB"

        device "linux/tun" {
          count = 1
        }
      }
    }
  }
}
