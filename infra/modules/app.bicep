// The Functions app: Flex Consumption, Python 3.13, one identity, no keys.

param token string
param location string
param tags object
param tenant string
param identityId string
param identityClientId string
param telemetryConnection string
param hostStorageName string
param deploymentContainer string
param dataStorageName string
param namespaceName string
param hubRetentionHours int
param rawDays int
param partitions array
param cosmosEndpoint string
param vaultUri string
param queryUri string
param ingestUri string
param analyticsDatabase string
param zoneRedundant bool
param instanceMemoryMB int
param maximumInstanceCount int
param alwaysReady array
param subnetId string
param public bool
param authClientId string
param publicUrl string
param captureSchedule string
param clockSchedule string
param configFolder string
param sourceSettings object
param workspaceId string

var name = 'func-flockiq-${token}'
var url = 'https://${name}.azurewebsites.net'
var storage = environment().suffixes.storage

var settings = union(
  {
    // The host, and the triggers' connection.
    AzureWebJobsStorage__blobServiceUri: 'https://${hostStorageName}.blob.${storage}'
    AzureWebJobsStorage__queueServiceUri: 'https://${hostStorageName}.queue.${storage}'
    AzureWebJobsStorage__tableServiceUri: 'https://${hostStorageName}.table.${storage}'
    AzureWebJobsStorage__credential: 'managedidentity'
    AzureWebJobsStorage__clientId: identityClientId
    AzureWebJobsDisableHomepage: 'true'
    EventHub__fullyQualifiedNamespace: '${namespaceName}.servicebus.windows.net'
    EventHub__credential: 'managedidentity'
    EventHub__clientId: identityClientId
    APPLICATIONINSIGHTS_CONNECTION_STRING: telemetryConnection
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
    // Sign-in proves itself by the identity, in place of a client secret.
    OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID: identityClientId
    // The app.
    AZURE_CLIENT_ID: identityClientId
    CosmosDB__accountEndpoint: cosmosEndpoint
    Storage__blobServiceUri: 'https://${dataStorageName}.blob.${storage}'
    KeyVault__vaultUri: vaultUri
    Kusto__queryUri: queryUri
    Kusto__ingestUri: ingestUri
    Kusto__database: analyticsDatabase
    FLOCKIQ_ADAPTERS: 'azure'
    FLOCKIQ_ACCESS: empty(authClientId) ? 'keys' : 'entra'
    FLOCKIQ_TENANT: tenant
    FLOCKIQ_CONFIG: configFolder
    FLOCKIQ_CAPTURE_SCHEDULE: captureSchedule
    FLOCKIQ_CLOCK_SCHEDULE: clockSchedule
    FLOCKIQ_HUB_RETENTION_H: string(hubRetentionHours)
    FLOCKIQ_RAW_DAYS: string(rawDays)
    FLOCKIQ_PUBLIC_URL: empty(publicUrl) ? url : publicUrl
  },
  // State is kept by partition, so the app refuses a hub whose count is not this one.
  toObject(partitions, each => 'FLOCKIQ_PARTITIONS_${toUpper(each.name)}', each => string(each.count)),
  sourceSettings
)

resource hostStorage 'Microsoft.Storage/storageAccounts@2024-01-01' existing = {
  name: hostStorageName
}

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  name: 'plan-flockiq-${token}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: { name: 'FC1', tier: 'FlexConsumption' }
  properties: { reserved: true, zoneRedundant: zoneRedundant }
}

resource site 'Microsoft.Web/sites@2024-04-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': 'api' })
  kind: 'functionapp,linux'
  identity: { type: 'UserAssigned', userAssignedIdentities: { '${identityId}': {} } }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    clientAffinityEnabled: false
    keyVaultReferenceIdentity: identityId
    publicNetworkAccess: public ? 'Enabled' : 'Disabled'
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${hostStorage.properties.primaryEndpoints.blob}${deploymentContainer}'
          authentication: { type: 'UserAssignedIdentity', userAssignedIdentityResourceId: identityId }
        }
      }
      runtime: { name: 'python', version: '3.13' }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstanceCount
        alwaysReady: alwaysReady
      }
    }
    siteConfig: { minTlsVersion: '1.2', scmMinTlsVersion: '1.2', ftpsState: 'Disabled', http20Enabled: true }
  }

  resource appSettings 'config' = {
    name: 'appsettings'
    properties: settings
  }

  // Publishing takes an Entra token; there is no user and password beside it.
  resource noFtp 'basicPublishingCredentialsPolicies' = {
    name: 'ftp'
    properties: { allow: false }
  }

  resource noBasic 'basicPublishingCredentialsPolicies' = {
    name: 'scm'
    properties: { allow: false }
  }

  // Who senders of webhooks are is said by their signatures, so they need no token.
  resource signIn 'config' = if (!empty(authClientId)) {
    name: 'authsettingsV2'
    properties: {
      platform: { enabled: true, runtimeVersion: '~1' }
      globalValidation: {
        requireAuthentication: true
        unauthenticatedClientAction: 'RedirectToLoginPage'
        redirectToProvider: 'azureactivedirectory'
        excludedPaths: ['/api/webhooks/*']
      }
      identityProviders: {
        azureActiveDirectory: {
          enabled: true
          registration: {
            clientId: authClientId
            clientSecretSettingName: 'OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID'
            openIdIssuer: '${environment().authentication.loginEndpoint}${subscription().tenantId}/v2.0'
          }
          validation: { allowedAudiences: [authClientId, 'api://${authClientId}'] }
        }
      }
      login: { tokenStore: { enabled: false } }
      httpSettings: { requireHttps: true }
    }
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: site
  properties: {
    workspaceId: workspaceId
    logs: [{ category: 'FunctionAppLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

output id string = site.id
output name string = site.name
output url string = url
