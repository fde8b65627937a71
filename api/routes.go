package api

import (
	"net/http"
	"reflect"
	"slices"
)

// Names of routes, as the client and the metrics use them.
const (
	routeJobs           = "job.list"
	routeJobRegister    = "job.register"
	routeJob            = "job.read"
	routeJobStop        = "job.stop"
	routeJobPlan        = "job.plan"
	routeJobAllocs      = "job.allocations"
	routeJobVersions    = "job.versions"
	routeJobWhy         = "job.why"
	routeNodes          = "node.list"
	routeNode           = "node.read"
	routeNodeAllocs     = "node.allocations"
	routeNodeEligible   = "node.eligibility"
	routeNodeLost       = "node.lost"
	routeAllocs         = "alloc.list"
	routeAlloc          = "alloc.read"
	routeAllocStop      = "alloc.stop"
	routeAllocRestart   = "alloc.restart"
	routeAllocLogs      = "alloc.logs"
	routeAgentSelf      = "agent.self"
	routeAgentMembers   = "agent.members"
	routeAgentHealth    = "agent.health"
	routeMetrics        = "metrics"
	routeStatusLeader   = "status.leader"
	routeStatusPeers    = "status.peers"
	routeRaftConfig     = "operator.raft.configuration"
	routeRaftRemove     = "operator.raft.remove-peer"
	routeRaftTransfer   = "operator.raft.transfer-leadership"
	routeSnapshotSave   = "operator.snapshot.save"
	routeSnapshotLoad   = "operator.snapshot.restore"
	routeRecoverySurvey = "operator.recover.survey"
	routeRecover        = "operator.recover"
	routeEvictions      = "operator.evictions"
	routeEvictionsAllow = "operator.evictions.allow"
	routeProtoRegister  = "node-protocol.register"
	routeProtoPoll      = "node-protocol.poll"
	routeProtoReport    = "node-protocol.report"
	routeProtoLeases    = "node-protocol.leases"
	routeProtoProbe     = "node-protocol.probe"
	routeProtoPing      = "node-protocol.ping"
	routeProtoBootstrap = "node-protocol.bootstrap"
	routeProtoJoin      = "node-protocol.join"
	routeProtoAnnounce  = "node-protocol.level"
	routeProtoProgress  = "node-protocol.progress"
)

// Methods, short, for the table.
const (
	get = http.MethodGet
	put = http.MethodPut
	del = http.MethodDelete
)

// Routes is the API. Each call returns a fresh copy.
func Routes() []Route {
	all := slices.Concat(
		jobRoutes(),
		nodeRoutes(),
		allocRoutes(),
		insideRoutes(),
		fileRoutes(),
		agentRoutes(),
		operatorRoutes(),
		placementRoutes(),
		recoveryRoutes(),
		verbRoutes(),
		toolRoutes(),
		leaveRoutes(),
		backupRoutes(),
		watchingRoutes(),
		whyRoutes(),
		protocolRoutes(),
		lineRoutes(),
		imageRoutes(),
		stateRoutes(),
	)
	for i := range all {
		all[i] = all[i].complete()
	}
	return all
}

func jobRoutes() []Route {
	return []Route{
		{
			Name: routeJobs, Method: get, Path: "/v1/jobs", Capability: CapListJobs, Where: AtLeader,
			Stale: true, Blocking: true, List: true, handler: read(listJobs, watchJobs),
			Doc: "list jobs with their status and counts",
		},
		{
			Name: routeJobRegister, Method: put, Path: "/v1/jobs", Capability: CapSubmitJob, Where: AtLeader,
			Write: true, Retry: true, handler: take(registerJob).withRequest(reflect.TypeFor[JobRegisterRequest]()),
			Doc: "store a job: a new one, a new version, or a stopped one again",
		},
		{
			Name: routeJob, Method: get, Path: "/v1/job/{id}", Capability: CapReadJob, Where: AtLeader,
			Stale: true, Blocking: true, handler: read(readJob, watchJob),
			Doc: "read a job with its status and counts",
		},
		{
			Name: routeJobStop, Method: del, Path: "/v1/job/{id}", Capability: CapSubmitJob, Where: AtLeader,
			Write: true, Retry: true, Query: []string{"purge"}, handler: answer(stopJob),
			Doc: "stop all copies of a job; with ?purge forget it once they have ended",
		},
		{
			Name: routeJobPlan, Method: put, Path: "/v1/job/{id}/plan", Capability: CapSubmitJob, Where: AtLeader,
			Retry: true, Concurrency: 16, handler: take(planJob).withRequest(reflect.TypeFor[JobPlanRequest]()),
			Doc: "say what registering a job would place and stop, changing nothing",
		},
		{
			Name: routeJobAllocs, Method: get, Path: "/v1/job/{id}/allocations", Capability: CapReadJob, Where: AtLeader,
			Stale: true, Blocking: true, List: true, handler: read(listJobAllocs, watchJob),
			Doc: "list the allocations of a job",
		},
		{
			Name: routeJobVersions, Method: get, Path: "/v1/job/{id}/versions", Capability: CapReadJob, Where: AtLeader,
			Stale: true, Blocking: true, handler: read(readJobVersions, watchJob),
			Doc: "read the stored versions of a job and how they differ, newest first",
		},
		{
			Name: routeJobWhy, Method: get, Path: "/v1/job/{id}/why", Capability: CapReadJob, Where: AtLeader,
			Stale: true, Concurrency: 16, handler: read(explainJob, nil),
			Doc: "explain which nodes can take more copies of a job and why the others cannot",
		},
	}
}

func nodeRoutes() []Route {
	return []Route{
		{
			Name: routeNodes, Method: get, Path: "/v1/nodes", Capability: CapNodeRead, Where: AtLeader,
			Stale: true, Blocking: true, List: true, handler: read(listNodes, watchNodes),
			Doc: "list nodes with what they have and what is used",
		},
		{
			Name: routeNode, Method: get, Path: "/v1/node/{id}", Capability: CapNodeRead, Where: AtLeader,
			Stale: true, Blocking: true, handler: read(readNode, watchNode),
			Doc: "read a node",
		},
		{
			Name: routeNodeAllocs, Method: get, Path: "/v1/node/{id}/allocations", Capability: CapNodeRead, Where: AtLeader,
			Stale: true, Blocking: true, List: true, handler: read(listNodeAllocs, watchNode),
			Doc: "list the allocations of a node",
		},
		{
			Name: routeNodeEligible, Method: put, Path: "/v1/node/{id}/eligibility", Capability: CapNodeWrite, Where: AtLeader,
			Write: true, Retry: true, handler: take(setEligibility),
			Doc: "let a node take new work, or not",
		},
		{
			Name: routeNodeLost, Method: put, Path: "/v1/node/{id}/lost", Capability: CapNodeWrite, Where: AtLeader,
			Write: true, Retry: true, handler: answer(declareLost),
			Doc: "say that a machine is gone: its work is placed elsewhere at once",
		},
	}
}

func allocRoutes() []Route {
	return []Route{
		{
			Name: routeAllocs, Method: get, Path: "/v1/allocations", Capability: CapReadJob, Where: AtLeader,
			Stale: true, Blocking: true, List: true, handler: read(listAllocs, watchAllocs),
			Doc: "list allocations",
		},
		{
			Name: routeAlloc, Method: get, Path: "/v1/allocation/{id}", Capability: CapReadJob, Where: AtLeader,
			Stale: true, Blocking: true, handler: read(readAlloc, watchAlloc),
			Doc: "read an allocation with its version of the job",
		},
		{
			Name: routeAllocStop, Method: put, Path: "/v1/allocation/{id}/stop", Capability: CapAllocLifecycle, Where: AtLeader,
			Write: true, Retry: true, handler: answer(stopAlloc),
			Doc: "stop one copy; another is placed in its stead",
		},
		{
			Name: routeAllocRestart, Method: put, Path: "/v1/client/allocation/{id}/restart", Capability: CapAllocLifecycle,
			Where: AtOwner, Write: true, handler: take(restartAlloc),
			Doc: "restart the tasks of an allocation where it is",
		},
		{
			Name: routeAllocLogs, Method: get, Path: "/v1/client/fs/logs/{id}", Capability: CapReadLogs, Where: AtOwner,
			Stream: true, Query: []string{"task", "type", "follow", "offset", "tail", "origin", "plain", "since", "previous"}, Media: []string{"text/plain"}, handler: stream(readLogs),
			Doc: "read a task's output as plain text; with ?follow until it ends",
		},
	}
}

func agentRoutes() []Route {
	return []Route{
		{
			Name: routeAgentSelf, Method: get, Path: "/v1/agent/self", Capability: CapAgentRead, Where: AtAgent,
			handler: answer(agentSelf), Doc: "describe the agent that was asked",
		},
		{
			Name: routeAgentMembers, Method: get, Path: "/v1/agent/members", Capability: CapAgentRead, Where: AtAgent,
			handler: answer(agentMembers), Doc: "list the agents that the agent asked knows by gossip",
		},
		{
			Name: routeAgentHealth, Method: get, Path: "/v1/agent/health", Capability: CapStatus, Where: AtAgent,
			Query: []string{"type"}, Media: []string{"application/json"}, handler: stream(agentHealth).withResponse(reflect.TypeFor[AgentHealth]()),
			Stream: true, Timeout: defaultTimeout, Doc: "say whether the agent asked is well: 200, or 503 with the reason",
		},
		{
			Name: routeMetrics, Method: get, Path: "/v1/metrics", Capability: CapAgentRead, Where: AtAgent,
			Query: []string{"format"}, Stream: true, Timeout: defaultTimeout, Concurrency: 8,
			Media: []string{"application/json", "text/plain"}, handler: stream(readMetrics).withResponse(reflect.TypeFor[MetricsView]()),
			Doc: "read the agent's metrics as JSON, or with ?format=prometheus as Prometheus takes them",
		},
		{
			Name: routeStatusLeader, Method: get, Path: "/v1/status/leader", Capability: CapStatus, Where: AnyServer,
			handler: answer(statusLeader), Doc: "say the leader's peer address, as a server knows it",
		},
		{
			Name: routeStatusPeers, Method: get, Path: "/v1/status/peers", Capability: CapStatus, Where: AnyServer,
			handler: answer(statusPeers), Doc: "list the servers' peer addresses",
		},
	}
}

func operatorRoutes() []Route {
	return []Route{
		{
			Name: routeRaftConfig, Method: get, Path: "/v1/operator/raft/configuration", Capability: CapOperatorRead,
			Where: AtLeader, Stale: true, handler: read(raftConfiguration, nil),
			Doc: "list the servers of the Raft configuration",
		},
		{
			Name: routeRaftRemove, Method: del, Path: "/v1/operator/raft/peer", Capability: CapOperatorWrite, Where: AtLeader,
			Write: true, Retry: true, Query: []string{"id", "address"}, handler: answer(removePeer),
			Doc: "take a dead server out of the Raft configuration",
		},
		{
			Name: routeRaftTransfer, Method: put, Path: "/v1/operator/raft/transfer-leadership", Capability: CapOperatorWrite,
			Where: AtLeader, Write: true, Query: []string{"id", "address"}, handler: take(transferLeadership), retryIf: namesHeir,
			Doc: "give leadership to another server",
		},
		{
			Name: routeSnapshotSave, Method: get, Path: "/v1/operator/snapshot", Capability: CapOperatorRead, Where: AtLeader,
			Stale: true, Stream: true, Concurrency: 2, Media: []string{"application/octet-stream"}, handler: stream(saveSnapshot),
			Doc: "save the cluster's state",
		},
		{
			Name: routeSnapshotLoad, Method: put, Path: "/v1/operator/snapshot", Capability: CapOperatorWrite, Where: AtLeader,
			Stream: true, Concurrency: 1, MaxBody: DefaultLimits().MaxSnapshot,
			Media: []string{"application/json"}, handler: stream(restoreSnapshot).withResponse(reflect.TypeFor[WriteResponse]()),
			Doc: "replace the cluster's state with a saved one",
		},
		{
			Name: routeEvictions, Method: get, Path: "/v1/operator/evictions", Capability: CapOperatorRead, Where: AtLeader,
			handler: answer(readEvictions), Doc: "say how the eviction guard stands",
		},
		{
			Name: routeEvictionsAllow, Method: put, Path: "/v1/operator/evictions", Capability: CapOperatorWrite, Where: AtLeader,
			Write: true, Retry: true, handler: answer(allowEvictions),
			Doc: "let go of the eviction guard: the silent machines are gone",
		},
	}
}

func protocolRoutes() []Route {
	const at = "/v1/node-protocol/"
	return []Route{
		{
			Name: routeProtoRegister, Method: put, Path: at + "register", Capability: CapNode, Where: AtLeader,
			Write: true, Retry: true, Concurrency: 1024, handler: takePeer(protoRegister),
			Doc: "store what an agent says of its machine",
		},
		{
			Name: routeProtoPoll, Method: put, Path: at + "poll", Capability: CapNode, Where: AtLeader, Stale: true,
			Retry: true, Concurrency: 10_000, Timeout: 2 * MaxPollWait, Media: []string{mediaLines}, handler: takePeer(protoPoll),
			Doc: "renew a node's lease and answer what its allocations are to do, then, a line each, the rows and jobs that this names",
		},
		{
			Name: routeProtoReport, Method: put, Path: at + "report", Capability: CapNode, Where: AtLeader,
			Write: true, Retry: true, Concurrency: 10_000, handler: takePeer(protoReport),
			Doc: "store what a node says of its allocations",
		},
		{
			Name: routeProtoLeases, Method: put, Path: at + "leases", Capability: CapServer, Where: AtLeader,
			Write: true, Retry: true, handler: takePeer(protoLeases),
			Doc: "relay the leases that a server's polls renewed",
		},
		{
			Name: routeProtoProbe, Method: put, Path: at + "probe", Capability: CapServer, Where: Here,
			Retry: true, handler: takePeer(protoProbe), Doc: "knock at some nodes and say what came back",
		},
		{
			Name: routeProtoPing, Method: get, Path: at + "ping", Capability: CapNode, Where: Here,
			Concurrency: 1024, handler: answer(protoPing), Doc: "say that this agent lives",
		},
		{
			Name: routeProtoBootstrap, Method: put, Path: at + "bootstrap", Capability: CapServer, Where: Here,
			Retry: true, handler: takePeer(protoBootstrap), Doc: "confirm that a server has no log",
		},
		{
			Name: routeProtoJoin, Method: put, Path: at + "join", Capability: CapServer, Where: AtLeader,
			Write: true, Retry: true, handler: takePeer(protoJoin), Doc: "take a server in as a non-voter",
		},
		{
			Name: routeProtoAnnounce, Method: put, Path: at + "level", Capability: CapServer, Where: AtLeader,
			Write: true, Retry: true, handler: takePeer(protoAnnounce), Doc: "announce the highest level that a server can apply",
		},
		{
			Name: routeProtoProgress, Method: get, Path: at + "progress", Capability: CapServer, Where: Here,
			handler: answer(protoProgress), Doc: "say how far a server's log is applied",
		},
	}
}
