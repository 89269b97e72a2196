// Package contract holds openapi.yaml, the description of the API, and tests
// that compare the client and the fake server with it. See README.md.
package contract
