package agent

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// load loads files of the given contents, in order.
func load(t *testing.T, src ConfigSources, files ...string) (Config, []string, error) {
	t.Helper()
	dir := t.TempDir()
	for i, text := range files {
		path := filepath.Join(dir, string(rune('a'+i))+".hcl")
		put(t, path, text)
		src.Files = append(src.Files, path)
	}
	src.Host = func() (string, error) { return "cow-1", nil }
	c, warnings, err := LoadConfig(src)
	if err != nil {
		err = errors.New(strings.ReplaceAll(err.Error(), dir+"/", ""))
	}
	for path, from := range c.origin {
		c.origin[path] = strings.TrimPrefix(from, dir+"/")
	}
	for i := range warnings {
		warnings[i] = strings.ReplaceAll(warnings[i], dir+"/", "")
	}
	return c, warnings, err
}

const wholeConfig = `
name       = "bull"
datacenter = "meadow"
region     = "alps"
data_dir   = "/var/lib/drover"
bind_addr  = "10.0.0.7"
log_level  = "debug"
log_json   = true
insecure   = true
addresses { http = "127.0.0.1" }
advertise {
  http = "10.0.0.8"
  rpc  = "10.0.0.8:5647"
  serf = "[fd00::8]:5648"
}
ports {
  http = 5646
  rpc  = 5647
  serf = "5648" // as Nomad takes it
}
server {
  enabled          = true
  bootstrap_expect = 3
  encrypt          = "MDEyMzQ1Njc4OWFiY2RlZg=="
  server_join {
    retry_join     = ["10.0.0.1", "10.0.0.2:4648"]
    retry_interval = "15s"
    retry_max      = 3
  }
  lost_after    = "2m"
  eviction_hold = 60000000000
  snapshots {
    interval  = "90m"
    retain    = 7
    directory = "/var/backups/drover"
  }
  default_scheduler_config {
    scheduler_algorithm             = "spread"
    memory_oversubscription_enabled = true
    reject_job_registration         = true
  }
}
client {
  enabled    = true
  servers    = ["10.0.0.1:4647"]
  node_class = "big"
  node_pool  = "gpu"
  meta {
    rack  = "r1"
    cores = 8
  }
  reserved {
    cpu            = 500
    memory         = 512
    disk           = 1024
    reserved_ports = "22,80,8000-8002"
    cores          = "0-1"
  }
  device "acme/card/x" {
    ids        = ["a", "b"]
    paths      = ["/dev/acme"]
    shared     = true
    attributes = { memory = "40 GiB" }
  }
  device "nvidia/gpu/a100" {
    attributes {
      memory = "40 GiB"
      cores  = 6912
    }
    env { NVIDIA_VISIBLE_DEVICES = "{ids}" }
    instance "GPU-1" { paths = ["/dev/nvidia0"] }
    instance "/dev/nvidia1" {}
  }
  detect_devices   = false
  min_dynamic_port = 21000
  max_dynamic_port = 22000
}
drivers {
  enabled = ["exec"]
  containerd { address = "/run/c.sock" }
  exec { isolation = "none" }
}
telemetry { prometheus_metrics = false }
`

func wholeWant() Config {
	c := DefaultConfig()
	c.Name, c.Datacenter, c.Region, c.DataDir, c.BindAddr = "bull", "meadow", "alps", "/var/lib/drover", "10.0.0.7"
	c.LogLevel, c.LogJSON, c.Insecure = "debug", true, true
	c.Addresses = Addrs{HTTP: "127.0.0.1"}
	c.Advertise = Addrs{HTTP: "10.0.0.8", RPC: "10.0.0.8:5647", Serf: "[fd00::8]:5648"}
	c.Ports = Ports{5646, 5647, 5648}
	c.Server = ServerConfig{
		Enabled: true, BootstrapExpect: 3, Encrypt: "MDEyMzQ1Njc4OWFiY2RlZg==", RetryJoin: []string{"10.0.0.1", "10.0.0.2:4648"},
		RetryInterval: 15 * time.Second, RetryMax: 3, RaftTimeout: 1500 * time.Millisecond, LostAfter: 2 * time.Minute,
		EvictionHold: time.Minute, Algorithm: "spread", Oversubscribe: true, RejectJobs: true,
		Snapshots: SnapshotsConfig{Interval: 90 * time.Minute, Retain: 7, Directory: "/var/backups/drover"},
	}
	c.Client = ClientConfig{
		Enabled: true, Servers: []string{"10.0.0.1:4647"}, NodeClass: "big", NodePool: "gpu",
		Meta:     map[string]string{"rack": "r1", "cores": "8"},
		Reserved: Reserved{CPU: 500, Cores: "0-1", MemoryMB: 512, DiskMB: 1024, Ports: []int{22, 80, 8000, 8001, 8002}},

		MinDynamicPort: 21000, MaxDynamicPort: 22000, MaxKillTimeout: 30 * time.Second,
		Devices: []DeviceConfig{
			{Name: "acme/card/x", Shared: true, Paths: []string{"/dev/acme"}, Attributes: map[string]string{"memory": "40 GiB"}, Instances: []DeviceInstanceConfig{{ID: "a"}, {ID: "b"}}},
			{Name: "nvidia/gpu/a100", Attributes: map[string]string{"memory": "40 GiB", "cores": "6912"}, Env: map[string]string{"NVIDIA_VISIBLE_DEVICES": "{ids}"},
				Instances: []DeviceInstanceConfig{{ID: "GPU-1", Paths: []string{"/dev/nvidia0"}}, {ID: "/dev/nvidia1"}}},
		},
		GCInterval: time.Minute, GCDiskPercent: 80, GCMaxAllocs: 50,
	}
	c.Drivers = DriversConfig{Enabled: []string{"exec"}, ContainerdAddress: "/run/c.sock", ExecIsolation: "none", Containers: defaultContainers()}
	c.Telemetry.PrometheusMetrics = false
	return c
}

func TestLoadHCL(t *testing.T) {
	got, warnings, err := load(t, ConfigSources{}, wholeConfig)
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	if diff := cmp.Diff(wholeWant(), got, cmpopts.IgnoreUnexported(Config{})); diff != "" {
		t.Error(diff)
	}
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
	if got := string(got.EncryptKey()); got != "0123456789abcdef" {
		t.Errorf("key: got %q", got)
	}
}

func TestLoadJSON(t *testing.T) {
	got, warnings, err := load(t, ConfigSources{}, `{"name": "bull", "ports": {"http": 5646}, "log_json": true,
		"server": {"enabled": true, "server_join": {"retry_join": ["a", "b"]}, "retry_interval": "1m"},
		"client": {"meta": {"rack": "r1", "dotted.name": 5}, "reserved": {"reserved_ports": [22, "80-81"]}}}`)
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	want := DefaultConfig()
	want.Name, want.Ports.HTTP, want.LogJSON = "bull", 5646, true
	want.Server.Enabled, want.Server.RetryJoin, want.Server.RetryInterval = true, []string{"a", "b"}, time.Minute
	want.Client.Meta = map[string]string{"rack": "r1", "dotted.name": "5"}
	want.Client.Reserved.Ports = []int{22, 80, 81}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Config{})); diff != "" {
		t.Error(diff)
	}
}

func TestWhatOverridesWhat(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "20.hcl"), `name = "second"
client { meta = { b = "2", c = "2" } }
server { retry_join = ["2"] }`)
	put(t, filepath.Join(dir, "10.json"), `{"name": "first", "region": "r", "client": {"meta": {"a": "1", "b": "1"}}, "server": {"retry_join": ["1", "1"]}}`)
	put(t, filepath.Join(dir, "ignored.txt"), `junk`)
	put(t, filepath.Join(dir, ".hidden.hcl"), `junk`)
	put(t, filepath.Join(dir, "sub", "deeper.hcl"), `junk`)
	src := ConfigSources{Dev: true, Files: []string{dir}}
	c, _, err := LoadConfig(src)
	if err != nil || c.Name != "second" || c.Region != "r" || !c.Dev || !c.Client.Enabled {
		t.Fatalf("files: got %+v, %v", c, err)
	}
	if diff := cmp.Diff(map[string]string{"a": "1", "b": "2", "c": "2"}, c.Client.Meta); diff != "" {
		t.Error(diff)
	}
	if !slices.Equal(c.Server.RetryJoin, []string{"2"}) {
		t.Errorf("got %v", c.Server.RetryJoin)
	}
	src.Env = func(name string) string {
		return map[string]string{"DROVER_NODE_NAME": "third", "DROVER_RETRY_JOIN": "3a, 3b", "DROVER_CLIENT": "false", "DROVER_HTTP_PORT": "99"}[name]
	}
	if c, _, err = LoadConfig(src); err != nil || c.Name != "third" || c.Client.Enabled || c.Ports.HTTP != 99 || len(c.Server.RetryJoin) != 2 {
		t.Fatalf("environment: got %+v, %v", c, err)
	}
	src.Flags = []ConfigFlag{{"node", "fourth"}, {"retry-join", "4a"}, {"retry-join", "4b"}, {"meta", "c=4"}, {"meta", "d=x=y"}, {"client", "true"}}
	if c, _, err = LoadConfig(src); err != nil || c.Name != "fourth" || !c.Client.Enabled || !slices.Equal(c.Server.RetryJoin, []string{"4a", "4b"}) {
		t.Fatalf("flags: got %+v, %v", c, err)
	}
	if diff := cmp.Diff(map[string]string{"a": "1", "b": "2", "c": "4", "d": "x=y"}, c.Client.Meta); diff != "" {
		t.Error(diff)
	}
	if got := c.at("name"); got != "name (--node)" {
		t.Errorf("got %q", got)
	}
}

func TestMistakesInFiles(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"typing": {"server {\n  bootstrap_expct = 3\n}", `a.hcl:2:3: unsupported argument: An argument named "bootstrap_expct" is not expected here. ` +
			"Did you mean \"bootstrap_expect\"?\n  2 |   bootstrap_expct = 3\n    |   ^^^^^^^^^^^^^^^"},
		"block":       {"servr {\n}", `a.hcl:1:1: unsupported block type: Blocks of type "servr" are not expected here. Did you mean "server"?`},
		"type":        {"ports {\n\thttp = \"many\"\n}", "a.hcl:2:9: http must be a whole number\n  2 | \thttp = \"many\"\n    | \t       ^^^^^^"},
		"fraction":    {"ports { http = 1.5 }", "http must be a whole number"},
		"duration":    {`server { lost_after = "soon" }`, `lost_after must be a duration such as "30s", not "soon"`},
		"list":        {`server { retry_join = "a" }`, "retry_join must be a list of strings"},
		"null":        {`server { retry_join = [null] }`, "retry_join must not hold null"},
		"ports":       {"client {\n reserved { reserved_ports = \"80-70\" }\n}", `reserved_ports must be ports such as "22,8000-8010", not "80-70"`},
		"variable":    {`name = var.x`, "a.hcl:1:8: variables not allowed"},
		"syntax":      {"name = \n", "a.hcl:1:8: invalid expression"},
		"acl":         {"acl {\n enabled = \"soon\"\n}", "a.hcl:2:12: enabled must be true or false"},
		"plugin":      {`plugin "java" {}`, `plugin "java" is not supported: drivers are built in`},
		"host volume": {"client {\n host_volume \"x\" {}\n}", "client.host_volume is not supported"},
		"vault":       {`vault { address = "x" }`, "vault is not supported"},
		"JSON":        {`{"servr": {}}`, `a.hcl:1:2: extraneous JSON object property: No argument or block type is named "servr". Did you mean "server"?`},
		"JSON tls":    {`{"tls": {"http": true}}`, "tls is not supported"},
		"JSON syntax": {`{"name": }`, "a.hcl:1:10: "},
		"deep":        {"name = " + strings.Repeat("[", 65), "nested deeper than 64"},
		"huge":        {"# " + strings.Repeat("x", maxConfigBytes), "larger than"},
		"binary":      {"\x00\x01\xff", "a.hcl:1:1: "},
	} {
		_, _, err := load(t, ConfigSources{}, c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v\nwant %s", name, err, c.want)
		}
	}
	_, _, err := load(t, ConfigSources{}, "nme = 1\nregoin = 2", "log_jsn = true")
	for _, want := range []string{`"name"`, `"region"`, `"log_json"`} { // all of them, at once
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s too", err, want)
		}
	}
	if _, _, err := LoadConfig(ConfigSources{Files: []string{"/no/such/file.hcl"}}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestBoundOfFileSize(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.hcl")
	for size, ok := range map[int]bool{maxConfigBytes - 1: true, maxConfigBytes: true, maxConfigBytes + 1: false} {
		put(t, path, strings.Repeat("\n", size))
		if _, err := readConfigFile(path); (err == nil) != ok {
			t.Errorf("%d bytes: got %v", size, err)
		}
	}
}

func TestIgnoredWithAWarning(t *testing.T) {
	_, warnings, err := load(t, ConfigSources{}, "ui { enabled = true }\nserver {\n  num_schedulers = 2\n}\ntelemetry { collection_interval = \"1s\" }")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"a.hcl:1:1: ui is ignored: there is no web interface yet",
		"a.hcl:3:3: server.num_schedulers is ignored: Drover has its own figures for this",
		"a.hcl:5:13: telemetry.collection_interval is ignored: all metrics are at /v1/metrics",
	}
	slices.Sort(warnings)
	if diff := cmp.Diff(want, warnings); diff != "" {
		t.Error(diff)
	}
}

func TestMistakesInEnvironmentAndFlags(t *testing.T) {
	env := func(name string) string { return map[string]string{"DROVER_LOG_JSON": "perhaps"}[name] }
	_, _, err := load(t, ConfigSources{Env: env, Flags: []ConfigFlag{{"http-port", "x"}, {"meta", "novalue"}, {"nonsense", ""}}})
	for _, want := range []string{"environment variable DROVER_LOG_JSON: must be true or false", "flag --http-port: must be a whole number",
		`flag --meta: "novalue" is not key=value`, "unknown flag --nonsense"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// The table agrees with itself: no name twice, none both known and foreign, every field can be set from text.
func TestConfigKeys(t *testing.T) {
	seen := map[string]bool{}
	once := func(kind, name string) {
		if name != "" && seen[kind+name] {
			t.Errorf("%s %s twice", kind, name)
		}
		seen[kind+name] = true
	}
	for _, k := range ConfigKeys() {
		once("path", k.Path)
		once("env", k.Env)
		once("flag", k.Flag)
		if k.Meaning == "" {
			t.Errorf("%s means nothing", k.Path)
		}
		c := DefaultConfig()
		text := "1"
		switch k.field(&c).(type) {
		case *time.Duration:
			text = "1s"
		case *bool:
			text = "true"
		case *map[string]string:
			text = "a=b"
		}
		if err := k.setText(&c, text, "test"); err != nil {
			t.Errorf("%s: %v", k.Path, err)
		}
	}
	for _, f := range foreignKeys() {
		once("path", f.path)
	}
}

// No file, however odd, brings the loader down.
func FuzzLoadConfig(f *testing.F) {
	f.Add(wholeConfig)
	f.Add(`{"client": {"meta": [{"a": 1}]}, "ports": [{"http": 1}]}`)
	f.Add(`server { meta = {` + "\n")
	f.Add(`client { meta { a = "${b}" } }`)
	f.Fuzz(func(t *testing.T, text string) {
		d := decoder{cfg: &Config{origin: map[string]string{}}}
		d.file("fuzz.hcl", []byte(text))
		_ = d.err()
		_ = d.cfg.Warnings()
	})
}
