package api

import "reflect"

// mediaLines is the content type of streams of one JSON object a line.
const mediaLines = "application/x-ndjson"

// Names of the routes by which a cluster is watched and searched.
const (
	routeEvents      = "event.stream"
	routeSearch      = "search.prefix"
	routeFuzzy       = "search.fuzzy"
	routeJobStatuses = "job.statuses"
	routeJobSummary  = "job.summary"
	routeRegions     = "region.list"
	routeOpenAPI     = "openapi"
)

func watchingRoutes() []Route {
	return []Route{
		{
			Name: routeEvents, Method: get, Path: "/v1/event/stream", Capability: CapReadJob, Where: AnyServer,
			Stream: true, AnyNamespace: true, Query: []string{"topic", "index", "follow"},
			Media: []string{mediaLines}, handler: stream(streamEvents).withResponse(reflect.TypeFor[EventLine]()),
			Doc: "read what changes as it changes, one JSON object a line; with ?follow=false only what is kept",
		},
		{
			Name: routeSearch, Method: put, Path: "/v1/search", Capability: CapListJobs, Where: AtLeader, Stale: true, Retry: true,
			AnyNamespace: true, Concurrency: 32, handler: take(search), Doc: "find jobs, allocations, nodes, node pools and images by the beginning of their IDs",
		},
		{
			Name: routeFuzzy, Method: put, Path: "/v1/search/fuzzy", Capability: CapListJobs, Where: AtLeader, Stale: true, Retry: true,
			AnyNamespace: true, Concurrency: 32, handler: take(searchFuzzy), Doc: "find jobs, groups, tasks, what they run, allocations and nodes by a part of their names",
		},
		{
			Name: routeJobStatuses, Method: get, Path: "/v1/jobs/statuses", Capability: CapListJobs, Where: AtLeader,
			Stale: true, Blocking: true, List: true, handler: read(listStatuses, watchJobs), Doc: "list jobs with their allocations in short",
		},
		{
			Name: routeJobSummary, Method: get, Path: "/v1/job/{id}/summary", Capability: CapReadJob, Where: AtLeader,
			Stale: true, Blocking: true, handler: read(readSummary, watchJob), Doc: "count the copies of a job by their status",
		},
		{
			Name: routeRegions, Method: get, Path: "/v1/regions", Capability: CapStatus, Where: Here,
			handler: answer(listRegions), Doc: "list the regions: one, the agent's own",
		},
		{
			Name: routeOpenAPI, Method: get, Path: "/v1/openapi.json", Capability: CapStatus, Where: Here, Concurrency: 8,
			handler: answer(readOpenAPI), Doc: "describe the API as an OpenAPI 3.1 document",
		},
	}
}
