package api

// Names of the routes of this file.
const (
	routeSchedulerConfig    = "operator.scheduler.read"
	routeSchedulerConfigSet = "operator.scheduler.set"
	routeNodePools          = "node-pool.list"
	routeNodePoolPut        = "node-pool.put"
	routeNodePool           = "node-pool.read"
	routeNodePoolDelete     = "node-pool.delete"
	routeNodePoolNodes      = "node-pool.nodes"
	routeNodePoolJobs       = "node-pool.jobs"
)

// placementRoutes say and set how the cluster places.
func placementRoutes() []Route {
	const configuration, pool = "/v1/operator/scheduler/configuration", nodePoolPaths + "{id}"
	return []Route{
		{
			Name: routeSchedulerConfig, Method: get, Path: configuration, Capability: CapOperatorRead, Where: AtLeader,
			Stale: true, Blocking: true, handler: read(readSchedulerConfig, watchSchedulerConfig),
			Doc: "say how the cluster places: bin-packing or spreading, memory oversubscription, whether it takes jobs",
		},
		{
			Name: routeSchedulerConfigSet, Method: put, Path: configuration, Capability: CapOperatorWrite, Where: AtLeader,
			Write: true, Retry: true, Query: []string{"cas"}, handler: take(setSchedulerConfig),
			Doc: "set how the cluster places; with ?cas only when the stored ModifyIndex is that one",
		},
		{
			Name: routeNodePools, Method: get, Path: "/v1/node/pools", Capability: CapNodeRead, Where: AtLeader,
			Stale: true, Blocking: true, List: true, handler: read(listNodePools, watchPools),
			Doc: "list node pools with how much is in them",
		},
		{
			Name: routeNodePoolPut, Method: put, Path: "/v1/node/pools", Capability: CapNodeWrite, Where: AtLeader,
			Write: true, Retry: true, handler: take(putNodePool), Doc: "create a node pool, or replace its description",
		},
		{
			Name: routeNodePool, Method: get, Path: pool, Capability: CapNodeRead, Where: AtLeader,
			Stale: true, Blocking: true, handler: read(readNodePool, watchPools), Doc: "read a node pool",
		},
		{
			Name: routeNodePoolDelete, Method: del, Path: pool, Capability: CapNodeWrite, Where: AtLeader,
			Write: true, Retry: true, handler: answer(deleteNodePool), Doc: "delete a node pool that no node is in and no job uses",
		},
		{
			Name: routeNodePoolNodes, Method: get, Path: pool + "/nodes", Capability: CapNodeRead, Where: AtLeader,
			Stale: true, Blocking: true, List: true, handler: read(listPoolNodes, watchNodes), Doc: "list the nodes of a node pool",
		},
		{
			Name: routeNodePoolJobs, Method: get, Path: pool + "/jobs", Capability: CapListJobs, Where: AtLeader,
			Stale: true, Blocking: true, List: true, handler: read(listPoolJobs, watchPoolJobs), Doc: "list the jobs that name a node pool",
		},
	}
}
