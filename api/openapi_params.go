package api

// queryParameter describes a parameter to readers of the API's description.
type queryParameter struct {
	schema object
	doc    string
}

// queryParameters describes every query parameter of the table, by name. What a name means is the same on all routes.
func queryParameters() map[string]queryParameter {
	text := object{"type": "string"}
	number := object{"type": "integer", "format": "uint64", "minimum": 0}
	flag := object{"type": "boolean"}
	return map[string]queryParameter{
		"address":              {text, "address of an agent: of a server's peer port, or of the gossip to join"},
		"command":              {text, "to run: a JSON array of the program and its arguments"},
		"cas":                  {number, "write only when the stored ModifyIndex is this one, 0 for never written"},
		"previous":             {flag, "the output of the task's run before the last restart"},
		"since":                {text, "a duration such as 5m, or a time such as 2026-01-02T15:04:05Z: no output older than that"},
		"consistent":           {flag, "the leader proves first that it leads"},
		"copies":               {number, "nodes that are to have an image, whether they run it or not"},
		"debug":                {number, "of a profile: 0 for the binary form, 1 and 2 for text"},
		"filter":               {object{"type": "string", "maxLength": maxFilter}, `only the items for which an expression holds: Status == "running" and Meta.team == "x"`},
		"follow":               {flag, "go on with what comes; false ends with what there is"},
		"force":                {flag, "also when something uses it"},
		"format":               {text, "of metrics: json or prometheus"},
		"id":                   {text, "ID of a server"},
		"index":                {number, "of a read: wait for something newer than this Raft index; of events: begin at this one"},
		"limit":                {number, "bytes at most"},
		"local":                {flag, "only on the agent asked"},
		"log_include_location": {flag, "with the file and line that wrote each line"},
		"log_json":             {flag, "one JSON object a line"},
		"log_level":            {text, "the least level of the lines: trace, debug, info, warn or error"},
		"name":                 {text, "name of an image, where the archive has none"},
		"namespace":            {text, "of what is named or listed; default means default, * in lists means all"},
		"next_token":           {text, "begins a page: what the page before answered in " + headerNextToken},
		"node_id":              {text, "the agent to ask, by its node ID or name; the one asked when it is absent"},
		"server_id":            {text, "the server to ask, by its node ID or name; leader means the one that leads"},
		"node":                 {text, "the agent meant, by its node ID or name"},
		"offset":               {number, "bytes to leave out, from the origin on"},
		"origin":               {object{"type": "string", "enum": []any{LogFromStart, LogFromEnd}}, "where offset counts from"},
		"path":                 {text, "of a file, from the allocation's directory on"},
		"per_page":             {object{"type": "integer", "minimum": 0, "maximum": MaxPage}, "items of a page at most"},
		"plain":                {flag, "accepted for compatibility: streams are always plain"},
		"port":                 {text, "label or number of a port of the allocation"},
		"prefix":               {text, "only the items whose ID begins with this"},
		"pretty":               {flag, "indent the answer"},
		"purge":                {flag, "forget the job once its copies have ended"},
		"region":               {text, "refuse unless this is the agent's region"},
		"reverse":              {flag, "the last item first"},
		"seconds":              {number, "how long to measure"},
		"source":               {text, "where an image came from, for people: a file's name"},
		"stale":                {flag, "any server may answer, also without a leader"},
		"tail":                 {number, "only the last so many lines"},
		"task":                 {text, "name of a task; may be absent where there is only one"},
		"topic":                {object{"type": "array", "items": text}, "of events: Job, Job:web, Node:*; may stand several times"},
		"tty":                  {flag, "give the command a terminal"},
		"type":                 {text, "of a log: stdout or stderr; of health: server or client"},
		"ws_handshake":         {flag, "the first message brings the token"},
		"wait":                 {text, `how long a read with index waits at most: "30s", "5m"`},
	}
}
