<?php
// Whom it knows: the one whose own metadata lies in the folder, read by its converter.
$file = getenv('CEDARKEEP_IDP_DIR') . '/sp.xml';
if (is_file($file)) {
    $service = SimpleSAML\Metadata\SAMLParser::parseFile($file);
    $metadata[$service->getEntityId()] = $service->getMetadata20SP();
    if (getenv('CEDARKEEP_IDP_FORMAT') === 'email') {
        $metadata[$service->getEntityId()]['NameIDFormat'] = SAML2\Constants::NAMEID_EMAIL_ADDRESS;
    }
}
