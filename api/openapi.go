package api

import (
	"net/http"
	"regexp"
	"strings"
)

// openAPIVersion is the version of the specification that the document obeys.
const openAPIVersion = "3.1.0"

// object is a JSON object under construction.
type object = map[string]any

// OpenAPI describes routes as an OpenAPI 3.1 document. Everything in it comes from the table and from the Go types of bodies and
// answers; version is the program's.
func OpenAPI(routes []Route, version string) map[string]any {
	s := newSchemas(routes)
	paths := object{}
	for i := range routes {
		r := &routes[i]
		path, _ := paths[openAPIPath(r.Path)].(object)
		if path == nil {
			path = object{}
			paths[openAPIPath(r.Path)] = path
		}
		path[strings.ToLower(r.Method)] = operation(r, s)
	}
	errorSchema := s.of(typeError())
	return object{
		"openapi": openAPIVersion,
		"info": object{
			"title": "Drover", "version": firstOf(version, "dev"),
			"description": "The API of every agent: it serves a request, forwards it to the leader, or proxies it to the agent that owns the allocation. " +
				"Where PUT is taken POST is too, and HEAD where GET is. Durations are nanoseconds, times are nanoseconds since the Unix epoch. " +
				"Parameters and fields that are not known are refused. Paths under /v1/node-protocol/ are answered on the peer port alone.",
		},
		"servers":  []any{object{"url": DefaultAddr}},
		"security": []any{object{}, object{"token": []any{}}, object{"bearer": []any{}}},
		"tags":     tags(routes),
		"paths":    paths,
		"components": object{
			"schemas":    s.components,
			"parameters": sharedParameters(),
			"headers":    sharedHeaders(),
			"securitySchemes": object{
				"token":  object{"type": "apiKey", "in": "header", "name": "X-Drover-Token", "description": "X-Nomad-Token is the same"},
				"bearer": object{"type": "http", "scheme": "bearer"},
			},
			"responses": object{"Error": object{
				"description": "why the request failed",
				"headers":     object{headerError: object{"$ref": "#/components/headers/" + headerError}},
				"content":     object{"application/json": object{"schema": errorSchema}},
			}},
		},
	}
}

// openAPIPath is a path with its wildcards as the specification has them.
func openAPIPath(path string) string { return strings.ReplaceAll(path, "...}", "}") }

// tags group the routes by the first word of their names.
func tags(routes []Route) []any {
	var out []any
	seen := map[string]bool{}
	for _, r := range routes {
		if t := tagOf(&r); !seen[t] {
			seen[t] = true
			out = append(out, object{"name": t})
		}
	}
	return out
}

func tagOf(r *Route) string {
	tag, _, _ := strings.Cut(r.Name, ".")
	return tag
}

// operationID makes "operator.raft.remove-peer" operatorRaftRemovePeer.
func operationID(name string) string {
	words := strings.FieldsFunc(name, func(r rune) bool { return r == '.' || r == '-' })
	for i := 1; i < len(words); i++ {
		words[i] = strings.ToUpper(words[i][:1]) + words[i][1:]
	}
	return strings.Join(words, "")
}

func operation(r *Route, s *schemas) object {
	op := object{
		"operationId": operationID(r.Name),
		"summary":     r.Doc,
		"description": details(r),
		"tags":        []any{tagOf(r)},
		"parameters":  parametersOf(r),
		"responses":   responses(r, s),
		// What the specification has no word for.
		"x-drover-capability": string(r.Capability),
		"x-drover-answered":   string(r.Where),
	}
	if body := requestBody(r, s); body != nil {
		op["requestBody"] = body
	}
	return op
}

// answeredBy says who answers a route.
func answeredBy() map[Where]string {
	return map[Where]string{
		Here:      "the agent asked",
		AnyServer: "any server",
		AtLeader:  "the leader",
		AtOwner:   "the agent that owns the allocation",
		AtAgent:   "the agent asked, or by the one that node_id names",
		AtNode:    "the agent asked, or by the one that node names",
	}
}

// details says in sentences what the row's fields mean to a caller.
func details(r *Route) string {
	out := []string{"Needs the capability " + string(r.Capability) + ".", "Answered by " + answeredBy()[r.Where] + "."}
	if r.Stale {
		out = append(out, "With stale any server answers.")
	}
	if r.Write {
		out = append(out, "Send it again with the same "+headerRequestID+" when its outcome is unknown.")
	}
	if r.Blocking {
		out = append(out, "With index it waits for something newer.")
	}
	return strings.Join(out, " ")
}

func wildcards(path string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`\{(\w+)(?:\.\.\.)?\}`).FindAllStringSubmatch(path, -1) {
		out = append(out, m[1])
	}
	return out
}

func parametersOf(r *Route) []any {
	out := []any{}
	for _, name := range wildcards(r.Path) {
		out = append(out, object{
			"name": name, "in": "path", "required": true, "schema": object{"type": "string"}, "description": "the " + name + " of what the path names",
		})
	}
	for _, name := range r.parameters() {
		out = append(out, object{"$ref": "#/components/parameters/" + parameterKey + name})
	}
	if r.Write {
		out = append(out, object{"$ref": "#/components/parameters/" + headerRequestID})
	}
	return out
}

// parameterKey begins the keys of query parameters among the components: generators make types of these, as they do of the schemas.
const parameterKey = "query-"

// sharedParameters are the query parameters of all routes, and the headers of requests.
func sharedParameters() object {
	out := object{headerRequestID: object{
		"name": headerRequestID, "in": "header", "schema": object{"type": "string", "maxLength": maxRequestID},
		"description": "recognizes a write that is sent again; one is made when it is absent",
	}}
	for name, p := range queryParameters() {
		out[parameterKey+name] = object{"name": name, "in": "query", "schema": p.schema, "description": p.doc}
	}
	return out
}

func requestBody(r *Route, s *schemas) object {
	switch {
	case r.Request != nil:
		return object{"content": object{"application/json": object{"schema": s.of(r.Request)}}}
	case r.Stream && r.MaxBody > 0:
		return object{"required": true, "content": object{"application/octet-stream": object{}}}
	}
	return nil
}

func responses(r *Route, s *schemas) object {
	content := object{}
	schema := object{}
	if r.Response != nil {
		schema = object{"schema": s.of(r.Response)}
	}
	for _, media := range r.Media {
		content[media] = object{}
		if media != "text/plain" {
			content[media] = schema
		}
	}
	headers := object{}
	for name := range sharedHeaders() {
		if name != headerError {
			headers[name] = object{"$ref": "#/components/headers/" + name}
		}
	}
	ok := object{"description": "done", "headers": headers}
	if len(content) > 0 {
		ok["content"] = content
	}
	out := object{"200": ok, "default": object{"$ref": "#/components/responses/Error"}}
	if r.Upgrade {
		delete(out, "200")
		out["101"] = object{"description": "a websocket, whose messages docs/api.md describes"}
	}
	if r.Method == http.MethodGet && !r.Stream {
		out["304"] = object{"description": "the answer is still the one that If-None-Match names"}
	}
	return out
}

// sharedHeaders are the headers of answers. Each stands under X-Nomad- too, but for the last two.
func sharedHeaders() object {
	header := func(kind, doc string) object {
		return object{"schema": object{"type": kind}, "description": doc}
	}
	return object{
		headerIndex:       header("integer", "Raft index of the state that the answer was made from, or at which a write is stored"),
		headerKnownLeader: header("boolean", "whether the agent that answered knows a leader"),
		headerLastContact: header("integer", "milliseconds since the server that answered heard of the leader"),
		headerNextToken:   header("string", "begins the next page of a list; absent on the last one"),
		headerAgent:       header("string", "node ID of the agent that answered"),
		headerRequestID:   header("string", "of a write: send it again with this"),
		headerError:       header("string", "the code of the error"),
	}
}

func readOpenAPI(c *call) (map[string]any, error) {
	return OpenAPI(Routes(), c.s.self().Version), nil
}
