package agent

import (
	"encoding/base64"
	"fmt"
	"os"
	"slices"
	"time"
)

// Config is what an agent is told. Its names in files, in the environment and as flags, with their meanings, are the table of
// ConfigKeys. LoadConfig fills it; Validate checks it. It is passed by value and not changed once an agent is open.
type Config struct {
	Name       string // of the node, in lists and in ${node.unique.name}; default the host name
	Datacenter string
	Region     string
	DataDir    string // absolute; "" only with Dev, until MakeDataDir has made one
	BindAddr   string // IP to listen on where Addresses says nothing else
	LogLevel   string // trace, debug, info, warn, error
	LogJSON    bool
	Dev        bool // one agent that is everything, on the loopback interface, with short raft time-outs
	Insecure   bool // traffic in the clear on an address that others can reach is accepted

	LeaveOnInterrupt bool // SIGINT makes the agent leave the cluster, instead of only ending
	LeaveOnTerminate bool // the same for SIGTERM

	Addresses Addrs // IPs to listen on; "" means BindAddr
	Advertise Addrs // IPs or names, with or without port, that others reach this agent at; "" means where it listens
	Ports     Ports

	Server    ServerConfig
	Client    ClientConfig
	Drivers   DriversConfig
	Telemetry TelemetryConfig
	ACL       ACLConfig

	block  string            // name of the block that is being read
	origin map[string]string // by key: where it was set, for error messages
}

// Addrs are one string for each of the three listeners.
type Addrs struct {
	HTTP string // the API
	RPC  string // raft and all that agents say to each other
	Serf string // gossip, TCP and UDP
}

// Ports are the ports of the three listeners. 0, with Dev only, takes a free one.
type Ports struct {
	HTTP, RPC, Serf int
}

// ServerConfig is the server block.
type ServerConfig struct {
	Enabled         bool
	BootstrapExpect int    // servers that found a cluster together; 0: join one that exists
	Encrypt         string // key of the gossip, base64 of 16, 24 or 32 bytes; "" means in the clear
	RetryJoin       []string
	RetryInterval   time.Duration
	RetryMax        int // attempts to join before the agent gives up; 0 means for ever
	RaftTimeout     time.Duration
	LostAfter       time.Duration // a node that is disconnected for so long is down
	EvictionHold    time.Duration // how long no work is moved when much of a pool falls silent at once
	LeaseOnly       bool          // simulations: see ConfigKeys and watchkeeper.byLease
	Algorithm       string        // "binpack" or "spread"; like the two below until an operator sets the cluster's own
	Oversubscribe   bool          // grants tasks their memory_max
	RejectJobs      bool          // refuses new and changed jobs
	Snapshots       SnapshotsConfig
}

// SnapshotsConfig is the snapshots block: what a server saves by itself.
type SnapshotsConfig struct {
	Interval  time.Duration // 0 means never
	Retain    int           // files that are kept
	Directory string        // absolute; "" means snapshots in the data directory
}

// ClientConfig is the client block.
type ClientConfig struct {
	Enabled        bool
	Servers        []string // peer addresses of servers, beside those that gossip knows
	NodeClass      string
	NodePool       string
	Meta           map[string]string
	Reserved       Reserved
	MinDynamicPort int // first port that tasks get, inclusive
	MaxDynamicPort int // last, inclusive
	MaxKillTimeout time.Duration
	Devices        []DeviceConfig
	DetectDevices  bool          // offer what is found on the machine too
	GCInterval     time.Duration // between looks at what nobody needs any more
	GCDiskPercent  int           // of the disk's use, above which unused images go at once; 0 means never
	GCMaxAllocs    int           // directories of ended allocations that are kept
}

// Reserved is what the machine keeps from its tasks.
type Reserved struct {
	CPU      int    // MHz
	Cores    string // such as "0-1": no task runs on these
	MemoryMB int    // MiB
	DiskMB   int    // MiB
	Ports    []int
}

// DriversConfig is the drivers block.
type DriversConfig struct {
	Enabled           []string // empty means all that work on this machine
	ContainerdAddress string   // socket of the daemon; "" means the host's where one answers, else our own
	RuncPath          string   // "" means runc in the daemon's PATH
	PlainHTTP         []string // registry hosts spoken to without TLS, besides those on loopback
	ExecIsolation     string   // "namespaces", "none" or "", the best that works
	Containers        ContainersConfig
}

// TelemetryConfig is the telemetry block.
type TelemetryConfig struct {
	PrometheusMetrics bool // serve /v1/metrics?format=prometheus
}

// ACLConfig is the acl block.
type ACLConfig struct {
	Enabled bool // refused: there are no access rules yet
}

// DefaultConfig returns the settings of an agent of a cluster of machines. It is neither server nor client, and has no data
// directory.
func DefaultConfig() Config {
	return Config{
		Datacenter: "dc1",
		Region:     "global",
		BindAddr:   "0.0.0.0",
		LogLevel:   "info",
		Ports:      Ports{HTTP: 4646, RPC: 4647, Serf: 4648},
		Server: ServerConfig{
			RetryInterval: 30 * time.Second, RaftTimeout: 1500 * time.Millisecond, LostAfter: 5 * time.Minute,
			EvictionHold: 15 * time.Minute, Algorithm: "binpack",
			Snapshots: SnapshotsConfig{Retain: 24},
		},
		Client: ClientConfig{
			NodePool: "default", MinDynamicPort: 20000, MaxDynamicPort: 32000, MaxKillTimeout: 30 * time.Second,
			DetectDevices: true,
			GCInterval:    time.Minute, GCDiskPercent: 80, GCMaxAllocs: 50,
		},
		Drivers:   DriversConfig{Containers: defaultContainers()},
		Telemetry: TelemetryConfig{PrometheusMetrics: true},
		origin:    map[string]string{},
	}
}

// DevConfig returns the settings of a cluster of one agent that nobody else can reach. MakeDataDir gives it a data directory.
func DevConfig() Config {
	c := DefaultConfig()
	c.Dev, c.BindAddr = true, "127.0.0.1"
	c.Server.Enabled, c.Server.BootstrapExpect, c.Client.Enabled = true, 1, true
	c.Server.RaftTimeout = 200 * time.Millisecond
	return c
}

// MakeDataDir gives a Dev agent without a data directory one that lasts until remove is called. With a data directory it does
// nothing.
func (c *Config) MakeDataDir() (remove func() error, err error) {
	if c.DataDir != "" || !c.Dev {
		return func() error { return nil }, nil
	}
	dir, err := os.MkdirTemp("", "drover-dev-")
	if err != nil {
		return nil, fmt.Errorf("make a data directory: %w", err)
	}
	c.DataDir = dir
	return func() error { return os.RemoveAll(dir) }, nil
}

// EncryptKey is the key of the gossip; nil means in the clear. Validate has checked it.
func (c Config) EncryptKey() []byte {
	key, err := decodeKey(c.Server.Encrypt)
	if err != nil {
		return nil
	}
	return key
}

func decodeKey(text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("is not base64 (%w): make a key with `openssl rand -base64 32`", err)
	}
	if !slices.Contains([]int{16, 24, 32}, len(key)) {
		return nil, fmt.Errorf("holds %d bytes, want 16, 24 or 32: make a key with `openssl rand -base64 32`", len(key))
	}
	return key, nil
}
