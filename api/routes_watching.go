package api

// Names of the routes by which a cluster is watched and searched.
const (
	routeEvents = "event.stream"
)

func watchingRoutes() []Route {
	return []Route{
		{
			Name: routeEvents, Method: get, Path: "/v1/event/stream", Capability: CapReadJob, Where: AnyServer,
			Stream: true, AnyNamespace: true, Query: []string{"topic", "index", "follow"}, handler: stream(streamEvents),
			Doc: "read what changes as it changes, one JSON object a line; with ?follow=false only what is kept",
		},
	}
}
