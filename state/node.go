package state

// Node statuses. The leader's decisions; a node never writes them.
const (
	NodeStatusInit         = "initializing"
	NodeStatusReady        = "ready"
	NodeStatusDown         = "down"
	NodeStatusDisconnected = "disconnected"
)

// Scheduling eligibility of a node, set by an operator.
const (
	NodeEligible   = "eligible"
	NodeIneligible = "ineligible"
)

// Node is one machine: what it is, what it has, and how it stands.
type Node struct {
	ID         string // UUID, kept in the node's data directory
	Name       string
	Datacenter string
	NodePool   string
	NodeClass  string
	Region     string

	PeerAddr string // host:port of the peer listener (4647)
	HTTPAddr string // host:port of the user-facing HTTP listener (4646)
	HostIP   string // the address that host-mode ports are bound to

	Attributes map[string]string     // fingerprint, keys without the "attr." prefix: "kernel.name"
	Meta       map[string]string     `json:",omitempty"`
	Drivers    map[string]DriverInfo // keys: "containerd", "exec", "fake"
	Resources  NodeResources         // what jobs may use in all
	Level      int                   // highest cluster level this agent can apply

	Boot       uint64 // the agent's boot counter: raised at each start of the agent, persisted on the node
	BootID     string // the kernel's boot ID: changes when the machine was rebooted
	Generation uint64 // raised by apply whenever the node comes back from down or is registered anew; plans name it

	Status            string  // a NodeStatus constant
	StatusDescription string  // one sentence for a human
	StatusUpdatedAt   int64   // cluster time, nanoseconds since the Unix epoch
	Returns           []int64 `json:",omitempty"` // cluster times of the latest down → ready changes, at most 4
	Eligibility       string  `json:"SchedulingEligibility"`

	CreateIndex uint64
	ModifyIndex uint64
}

// DriverInfo is what a node's fingerprint says of one driver.
type DriverInfo struct {
	Detected          bool
	Healthy           bool
	HealthDescription string `json:",omitempty"`
}
