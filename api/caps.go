package api

// Capability is a right that a route asks for. Names of the user's capabilities are those of the field where it has one.
type Capability string

// Capabilities of users.
const (
	CapListJobs       Capability = "list-jobs"
	CapReadJob        Capability = "read-job"
	CapSubmitJob      Capability = "submit-job"
	CapAllocLifecycle Capability = "alloc-lifecycle"
	CapReadLogs       Capability = "read-logs"
	CapReadFS         Capability = "read-fs"
	CapAllocExec      Capability = "alloc-exec" // run and write what one likes inside a task
	CapNodeRead       Capability = "node:read"
	CapNodeWrite      Capability = "node:write"
	CapAgentRead      Capability = "agent:read"
	CapStatus         Capability = "status" // who leads, and whether the agent is well: what a load balancer asks
	CapOperatorRead   Capability = "operator:read"
	CapOperatorWrite  Capability = "operator:write"
	CapImageRead      Capability = "image:read"
	CapImageWrite     Capability = "image:write"
)

// Capabilities of agents. No user has them.
const (
	CapNode   Capability = "node"   // speaks for one machine
	CapServer Capability = "server" // is one of the servers
)

// userCapabilities are what everybody on the user's listener has until there is access control.
func userCapabilities() map[Capability]bool {
	return map[Capability]bool{
		CapListJobs: true, CapReadJob: true, CapSubmitJob: true, CapAllocLifecycle: true, CapReadLogs: true, CapReadFS: true, CapAllocExec: true, CapNodeRead: true,
		CapNodeWrite: true, CapAgentRead: true, CapStatus: true, CapOperatorRead: true, CapOperatorWrite: true,
		CapImageRead: true, CapImageWrite: true,
	}
}

// peerCapabilities are what an agent has on the peers' listener: its own, and the user's, because what it forwards it has
// authorised.
func peerCapabilities() map[Capability]bool {
	caps := userCapabilities()
	caps[CapNode], caps[CapServer] = true, true
	return caps
}
