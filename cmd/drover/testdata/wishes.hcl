job "wishes" {
  affinity {
    attribute = "${attr.kernel.name}"
    value     = "linux"
    weight    = 80
  }
  group "g" {
    count = 2
    constraint {
      distinct_hosts = true
    }
    spread {
      attribute = "${node.datacenter}"
      target "dc1" { percent = 50 }
      target "dc2" { percent = 50 }
    }
    affinity {
      attribute = "${meta.dsik}"
      value     = "ssd"
    }
    task "t" {
      driver = "fake"
      resources {
        cpu        = "100m"
        memory     = 20
        memory_max = 40
      }
    }
  }
}
