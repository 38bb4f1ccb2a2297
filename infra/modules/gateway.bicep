// API Management in front of the API: the app's own description, a token or a key, and a limit for each caller.

param token string
param location string
param tags object
param sku string
param zoneRedundant bool
param publisherEmail string
param appUrl string
param authClientId string
param workspaceId string

var entra = !empty(authClientId)
var policy = loadTextContent('../policies/api.xml')
var tokens = loadTextContent('../policies/entra.xml')

resource service 'Microsoft.ApiManagement/service@2024-05-01' = {
  name: 'apim-flockiq-${token}'
  location: location
  tags: tags
  sku: { name: sku, capacity: zoneRedundant && sku == 'Premium' ? 3 : 1 }
  zones: zoneRedundant && sku == 'Premium' ? ['1', '2', '3'] : []
  identity: { type: 'SystemAssigned' }
  properties: {
    publisherEmail: publisherEmail
    publisherName: 'FlockIQ'
  }
}

resource api 'Microsoft.ApiManagement/service/apis@2024-05-01' = {
  parent: service
  name: 'flockiq'
  properties: {
    displayName: 'FlockIQ'
    path: ''
    protocols: ['https']
    serviceUrl: appUrl
    subscriptionRequired: !entra
    format: 'openapi+json'
    value: loadTextContent('../openapi.json')
  }
}

resource limits 'Microsoft.ApiManagement/service/apis/policies@2024-05-01' = {
  parent: api
  name: 'policy'
  properties: {
    format: 'xml'
    value: replace(
      policy,
      '<!-- who -->',
      entra ? replace(replace(tokens, 'TENANT', subscription().tenantId), 'CLIENT', authClientId) : ''
    )
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: service
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

output url string = service.properties.gatewayUrl
