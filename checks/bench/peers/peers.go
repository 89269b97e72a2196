// Package peers holds clients that were generated from an OpenAPI description
// of the API. Their generators are pinned here, and not in go.mod, because only
// their output is needed.
package peers

//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 -config oapi/config.yaml openapi30.yaml
//go:generate go run github.com/ogen-go/ogen/cmd/ogen@v1.25.0 --config ogen/config.yaml --target ogen --package ogen --clean openapi30.yaml
