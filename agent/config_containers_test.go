package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/drover-io/drover/runtime/containerd"
)

const containerBlock = `
    allow_privileged = true
    allow_caps       = ["net_raw", "CHOWN"]
    allow_devices    = ["/dev/dri/*"]
    allow_unconfined = true
    volumes { enabled = true }
    pids_limit = 100
    image_pull_timeout    = "10m"
    pull_activity_timeout = "30s"
    auth {
      config = "/root/.docker/config.json"
      helper = "ecr-login"
    }
    gc {
      image       = false
      image_delay = "3m"
    }
    registry "docker.io" {
      mirrors = ["mirror.example:5000", "http://10.0.0.1/hub"]
    }
    registry "10.0.0.1:5000" {
      plain_http = true
      username   = "herder"
      password   = "secret"
    }
    registry "own.example" {
      ca_file = "/etc/ca.pem"
    }
`

func containersWant() ContainersConfig {
	return ContainersConfig{
		AllowPrivileged: true, AllowCaps: []string{"net_raw", "CHOWN"}, AllowDevices: []string{"/dev/dri/*"}, AllowUnconfined: true,
		HostVolumes: true, PidsLimit: 100, PullTimeout: 10 * time.Minute, StallTimeout: 30 * time.Second,
		AuthFile: "/root/.docker/config.json", AuthHelper: "ecr-login", GCImageDelay: 3 * time.Minute,
		Registries: map[string]*containerd.Registry{
			"docker.io":     {Mirrors: []string{"mirror.example:5000", "http://10.0.0.1/hub"}},
			"10.0.0.1:5000": {PlainHTTP: true, Username: "herder", Password: "secret"},
			"own.example":   {CAFile: "/etc/ca.pem"},
		},
	}
}

// TestContainerBlocks: Nomad's block and ours are the same.
func TestContainerBlocks(t *testing.T) {
	for name, text := range map[string]string{
		"ours":    "drivers {\n containerd {" + containerBlock + "}\n}\nclient {\n gc_interval = \"2m\"\n gc_disk_usage_threshold = 70\n gc_max_allocs = 10\n}",
		"Nomad's": "plugin \"docker\" {\n config {" + containerBlock + "}\n}\nclient {\n gc_interval = \"2m\"\n gc_disk_usage_threshold = 70\n gc_max_allocs = 10\n}",
		"JSON": `{"plugin": {"docker": {"config": {"allow_privileged": true, "allow_caps": ["net_raw", "CHOWN"], "allow_devices": ["/dev/dri/*"],
			"allow_unconfined": true, "volumes": {"enabled": true}, "pids_limit": 100, "image_pull_timeout": "10m", "pull_activity_timeout": "30s",
			"auth": {"config": "/root/.docker/config.json", "helper": "ecr-login"}, "gc": {"image": false, "image_delay": "3m"},
			"registry": {"docker.io": {"mirrors": ["mirror.example:5000", "http://10.0.0.1/hub"]},
				"10.0.0.1:5000": {"plain_http": true, "username": "herder", "password": "secret"}, "own.example": {"ca_file": "/etc/ca.pem"}}}}},
			"client": {"gc_interval": "2m", "gc_disk_usage_threshold": 70, "gc_max_allocs": 10}}`,
	} {
		got, warnings, err := load(t, ConfigSources{Dev: true}, text)
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: %v %v", name, err, warnings)
			continue
		}
		if diff := cmp.Diff(containersWant(), got.Drivers.Containers); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if got.Client.GCInterval != 2*time.Minute || got.Client.GCDiskPercent != 70 || got.Client.GCMaxAllocs != 10 {
			t.Errorf("%s: %+v", name, got.Client)
		}
		if err := got.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestContainerMistakes(t *testing.T) {
	for text, want := range map[string]string{
		`endpoint = "unix:///var/run/docker.sock"`:                     "drivers.containerd.endpoint is not supported: containers run in containerd",
		`allow_priviledged = true`:                                     `Did you mean "allow_privileged"?`,
		`allow_caps = ["net_everything"]`:                              `drivers.containerd.allow_caps (a.hcl:3:14): "net_everything" is not a capability`,
		`allow_devices = ["fuse"]`:                                     "allow_devices (a.hcl:3:17): want absolute paths",
		`pids_limit = -1`:                                              "want 0 to",
		"gc {\n image_delay = \"1s\"\n}":                               "gc.image_delay (a.hcl:4:16): want at least 1m0s",
		"auth {\n config = \"config.json\"\n}":                         "want an absolute path",
		"auth {\n helper = \"/bin/x\"\n}":                              "want the NAME of a program docker-credential-NAME",
		"registry \"https://x\" {}":                                    `registry "https://x": want a host`,
		"registry \"x\" {\n mirrors = [\"ftp://y\"]\n}":                `"ftp://y": want a host such as`,
		"registry \"x\" {\n password = \"y\"\n}":                       "there is no username",
		"registry \"x\" {\n mirors = []\n}":                            `Did you mean "mirrors"?`,
		"registry {}":                                                  "missing name for registry",
		"registry \"x\" {\n plain_http = true\n skip_verify = true\n}": "without TLS there is no certificate",
	} {
		c, _, err := load(t, ConfigSources{Dev: true}, "plugin \"docker\" {\n config {\n"+text+"\n}\n}")
		if err == nil {
			err = c.Validate()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	_, warnings, err := load(t, ConfigSources{}, "plugin \"docker\" {\n config {\n allow_runtimes = [\"runc\"]\n gc {\n container = true\n}\n}\n}")
	if err != nil || len(warnings) != 2 {
		t.Errorf("%v, %v", warnings, err)
	}
}
