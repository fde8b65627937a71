package api

// Names of the routes of this file.
const (
	routeJobScale   = "job.scale"
	routeJobStart   = "job.start"
	routeJobRevert  = "job.revert"
	routeSystemGC   = "system.gc"
	routeMonitor    = "agent.monitor"
	routeProfile    = "agent.pprof"
	routeAgentJoin  = "agent.join"
	routeForceLeave = "agent.force-leave"
	routeHostStats  = "client.stats"
)

// verbRoutes change a stored job, and clear up.
func verbRoutes() []Route {
	return []Route{
		{
			Name: routeJobScale, Method: put, Path: "/v1/job/{id}/scale", Capability: CapSubmitJob, Where: AtLeader,
			Write: true, Retry: true, handler: take(scaleJob), Doc: "change the number of copies of one group of a job",
		},
		{
			Name: routeJobStart, Method: put, Path: "/v1/job/{id}/start", Capability: CapSubmitJob, Where: AtLeader,
			Write: true, Retry: true, handler: answer(startJob), Doc: "start a stopped job again, as it was registered",
		},
		{
			Name: routeJobRevert, Method: put, Path: "/v1/job/{id}/revert", Capability: CapSubmitJob, Where: AtLeader,
			Write: true, Retry: true, handler: take(revertJob), Doc: "make an older version of a job the newest",
		},
		{
			Name: routeSystemGC, Method: put, Path: "/v1/system/gc", Capability: CapOperatorWrite, Where: AtLeader,
			Retry: true, Concurrency: 1, handler: answer(collectGarbage),
			Doc: "remove at once the jobs, allocations and nodes that are over",
		},
	}
}

// toolRoutes look into one agent.
func toolRoutes() []Route {
	return []Route{
		{
			Name: routeMonitor, Method: get, Path: "/v1/agent/monitor", Capability: CapAgentRead, Where: AtAgent, Stream: true, Concurrency: 32,
			Query: []string{"log_level", "log_json", "log_include_location", "plain", "follow"}, Media: []string{"text/plain"}, handler: stream(monitorAgent),
			Doc: "read an agent's log, the recent lines and those that come; with ?follow=false only the recent ones",
		},
		{
			Name: routeProfile, Method: get, Path: "/v1/agent/pprof/{id}", Capability: CapOperatorRead, Where: AtAgent, Stream: true, Concurrency: 4,
			Timeout: maxProfile + defaultTimeout, Query: []string{"seconds", "debug"},
			Media: []string{"application/octet-stream", "text/plain"}, handler: stream(readProfile),
			Doc: "read a profile of an agent's process: profile, trace, goroutine, heap, allocs, threadcreate, block or mutex",
		},
		{
			Name: routeAgentJoin, Method: put, Path: "/v1/agent/join", Capability: CapOperatorWrite, Where: Here, Retry: true, Concurrency: 4,
			Query: []string{"address"}, handler: answer(joinAgents), Doc: "make the agent asked gossip with others",
		},
		{
			Name: routeForceLeave, Method: put, Path: "/v1/agent/force-leave", Capability: CapOperatorWrite, Where: Here, Write: true, Retry: true,
			Query: []string{"node", "local"}, handler: answer(forceLeave), Doc: "forget an agent that gossip has found dead",
		},
		{
			Name: routeHostStats, Method: get, Path: "/v1/client/stats", Capability: CapNodeRead, Where: AtAgent, Concurrency: 32,
			handler: answer(hostStats), Doc: "measure an agent's machine: cpu, memory, disk",
		},
	}
}
