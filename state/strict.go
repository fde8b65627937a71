package state

import (
	"bytes"
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

// opened takes an envelope apart that enveloped made. The body is what stands in it, whatever that is: a body that is one JSON value makes the
// whole what it seems to be.
func opened(data []byte) (kind string, level int, body []byte, ok bool) {
	rest, ok := bytes.CutPrefix(data, []byte(`{"Kind":"`))
	name, rest, ok2 := bytes.Cut(rest, []byte(`","Level":`))
	number, rest, ok3 := bytes.Cut(rest, []byte(`,"Body":`))
	body, ok4 := bytes.CutSuffix(rest, []byte{'}'})
	if !ok || !ok2 || !ok3 || !ok4 || len(number) != 1 || number[0] < '0' || number[0] > '9' {
		return "", 0, nil, false
	}
	return string(name), int(number[0] - '0'), body, true
}
