package state

import (
	"strconv"

	"github.com/go-json-experiment/json"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// strict decodes one JSON value with no unknown field and nothing after it. Every server decodes every entry of the log, and every row of a
// snapshot when it starts: the library takes a third of the time of encoding/json, whose meaning it is told to keep
// (docs/decisions/0016-decoding-json.md).
func strict(data []byte, into any) error {
	return json.Unmarshal(data, into, jsonv1.DefaultOptionsV1(), json.RejectUnknownMembers(true))
}

// enveloped is an envelope in JSON, without another look at the body.
func enveloped(kind string, level int, body []byte) []byte {
	data := make([]byte, 0, len(body)+64)
	data = append(data, `{"Kind":`...)
	data = strconv.AppendQuote(data, kind) // a name of Go's
	data = append(data, `,"Level":`...)
	data = strconv.AppendInt(data, int64(level), 10)
	data = append(data, `,"Body":`...)
	return append(append(data, body...), '}')
}
