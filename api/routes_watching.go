package api

import "reflect"

// mediaLines is the content type of streams of one JSON object a line.
const mediaLines = "application/x-ndjson"

// Names of the routes by which a cluster is watched and searched.
const (
	routeEvents  = "event.stream"
	routeOpenAPI = "openapi"
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
			Name: routeOpenAPI, Method: get, Path: "/v1/openapi.json", Capability: CapStatus, Where: Here, Concurrency: 8,
			handler: answer(readOpenAPI), Doc: "describe the API as an OpenAPI 3.1 document",
		},
	}
}
